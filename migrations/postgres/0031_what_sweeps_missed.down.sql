-- What was swept stays so.
SELECT 1;
