DROP INDEX events_set_aside;
ALTER TABLE events DROP COLUMN retried, DROP COLUMN set_aside;
