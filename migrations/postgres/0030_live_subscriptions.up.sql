-- A tenant's subscriptions are listed, counted, and read with its first event; those that were deleted stay in the table.
CREATE INDEX subscriptions_live ON subscriptions (tenant_id, subscription_id) WHERE status <> 'deleted';
