-- What is to be attempted is ready, or waits for a later due time. A lease looks at what is ready alone, so it costs
-- nothing how much waits: a due time that has come makes ready, by the global order of due times.
ALTER TABLE open_deliveries ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0;
UPDATE open_deliveries SET waiting = 1 WHERE lease IS NULL AND due_at > updated_at;
DROP INDEX open_deliveries_by_lane;
-- A lane is a subscription, whose ID is unique over all tenants; of each lane the oldest that is ready is leased first.
CREATE INDEX open_deliveries_ready ON open_deliveries (subscription_id, due_at, delivery_id)
    WHERE lease IS NULL AND due_at IS NOT NULL AND waiting = 0;
CREATE INDEX open_deliveries_waiting ON open_deliveries (due_at, delivery_id) WHERE waiting = 1;
-- For sweeps, which move all that a lane has, in no order of due times.
CREATE INDEX open_deliveries_waiting_in_lane ON open_deliveries (subscription_id, delivery_id) WHERE waiting = 1;
