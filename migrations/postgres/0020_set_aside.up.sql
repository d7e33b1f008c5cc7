-- Why fan-out could not handle an event, and what was counted of it; NULL unless that is so. And who had it fanned out again.
ALTER TABLE events
    ADD COLUMN set_aside bytea, -- JSON
    ADD COLUMN retried   bytea; -- JSON
CREATE INDEX events_set_aside ON events (tenant_id, sequence) WHERE set_aside IS NOT NULL;
