DROP INDEX open_deliveries_waiting_in_lane;
DROP INDEX open_deliveries_waiting;
DROP INDEX open_deliveries_ready;
ALTER TABLE open_deliveries DROP COLUMN waiting;
CREATE INDEX open_deliveries_by_lane ON open_deliveries (subscription_id, due_at, delivery_id)
    WHERE lease IS NULL AND due_at IS NOT NULL;
