-- What was deleted stays so: no version of the service reads it.
SELECT 1;
