-- Sweeps of earlier versions could end without a delivery that was being leased or parked just then, which stayed pending for a subscription
-- that was paused or deleted, or parked for one that had been resumed. A sweep that is noted stays as it is.
INSERT INTO sweeps (tenant_id, subscription_id, action, turn_at)
SELECT DISTINCT tenant_id, subscription_id, CASE s.status WHEN 'active' THEN 'release' WHEN 'deleted' THEN 'cancel' ELSE 'park' END, 0
FROM open_deliveries d JOIN subscriptions s USING (tenant_id, subscription_id)
WHERE s.status = 'deleted' OR (d.status = 'parked') = (s.status = 'active')
ON CONFLICT DO NOTHING;
