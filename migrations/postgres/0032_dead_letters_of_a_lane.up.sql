-- A subscription's dead letters are counted, among all that its tenant's others gave up. Week 0 has all of them.
CREATE INDEX closed_deliveries_dead ON closed_deliveries_kept (subscription_id, delivery_id) WHERE status = 'dead_letter';
