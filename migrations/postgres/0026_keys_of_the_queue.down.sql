DROP INDEX open_deliveries_by_event, open_deliveries_by_subscription;
CREATE INDEX open_deliveries_by_event ON open_deliveries (tenant_id, event_id);
CREATE INDEX open_deliveries_by_subscription ON open_deliveries (tenant_id, subscription_id, delivery_id);
