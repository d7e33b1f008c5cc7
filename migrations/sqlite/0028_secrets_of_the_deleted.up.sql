-- Nothing is signed any more for a subscription that was deleted; a rotation forgets what ended before it.
DELETE FROM secrets WHERE EXISTS (SELECT 1 FROM subscriptions s
    WHERE s.tenant_id = secrets.tenant_id AND s.subscription_id = secrets.subscription_id AND s.status = 'deleted');
