-- Sweeps of earlier versions could end without a delivery that was being leased or parked just then, which stayed pending for a subscription
-- that was paused or deleted, or parked for one that had been resumed. A sweep that is noted stays as it is, but who is about to end it is waited
-- for. Nobody changes a subscription meanwhile (the lock is "ORDL"): it would be swept as it was before, after the sweep for what it is now.
SELECT pg_advisory_xact_lock_shared(1330791500, 0);
INSERT INTO sweeps (tenant_id, subscription_id, action, turn_at)
SELECT DISTINCT tenant_id, subscription_id, CASE WHEN s.status = 'deleted' THEN 'cancel' WHEN s.status <> 'active' THEN 'park'
    WHEN position('"skippedParked":true'::bytea IN s.state) > 0 THEN 'skip' ELSE 'release' END, 0
FROM open_deliveries d JOIN subscriptions s USING (tenant_id, subscription_id)
WHERE s.status = 'deleted' OR (d.status = 'parked') = (s.status = 'active')
ORDER BY tenant_id, subscription_id
ON CONFLICT (tenant_id, subscription_id) DO UPDATE SET turn_at = sweeps.turn_at;
