-- Which version of the subscription a missing feature kept the event from, and when the event was accepted: the
-- subscription's history counts them.
ALTER TABLE gated_events ADD COLUMN subscription_version bigint NOT NULL DEFAULT 0, ADD COLUMN accepted_at bigint NOT NULL DEFAULT 0;
UPDATE gated_events g SET accepted_at = e.accepted_at FROM events e WHERE e.tenant_id = g.tenant_id AND e.event_id = g.event_id;
CREATE INDEX gated_events_by_version ON gated_events (tenant_id, subscription_id, subscription_version, feature, accepted_at);
