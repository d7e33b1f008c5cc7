-- How many of a tenant's keys live is counted before there is one more; those that have ended are never deleted.
CREATE INDEX api_keys_live ON api_keys (tenant_id, expires_at) WHERE revoked_at IS NULL;
