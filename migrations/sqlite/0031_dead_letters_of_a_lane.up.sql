-- A subscription's dead letters are counted, among all that it was sent and all that its tenant's others gave up.
CREATE INDEX closed_deliveries_dead ON closed_deliveries (tenant_id, subscription_id, delivery_id) WHERE status = 'dead_letter';
