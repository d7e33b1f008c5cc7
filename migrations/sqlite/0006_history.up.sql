-- Which version of the subscription a missing feature kept the event from, and when the event was accepted: the
-- subscription's history counts them.
ALTER TABLE gated_events ADD COLUMN subscription_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE gated_events ADD COLUMN accepted_at INTEGER NOT NULL DEFAULT 0;
UPDATE gated_events SET accepted_at = coalesce((SELECT e.accepted_at FROM events e
    WHERE e.tenant_id = gated_events.tenant_id AND e.event_id = gated_events.event_id), 0);
CREATE INDEX gated_events_by_version ON gated_events (tenant_id, subscription_id, subscription_version, feature, accepted_at);
