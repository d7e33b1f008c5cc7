DROP INDEX events_set_aside;
ALTER TABLE events DROP COLUMN retried;
ALTER TABLE events DROP COLUMN set_aside;
