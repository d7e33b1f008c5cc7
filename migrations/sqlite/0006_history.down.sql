DROP INDEX gated_events_by_version;
ALTER TABLE gated_events DROP COLUMN accepted_at;
ALTER TABLE gated_events DROP COLUMN subscription_version;
