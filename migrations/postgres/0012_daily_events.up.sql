-- How many events each tenant sent on the last day on which it sent any: counted where there is a quota, in the
-- transactions that accept them.
CREATE TABLE daily_events (
    tenant_id text   COLLATE "C" NOT NULL PRIMARY KEY REFERENCES tenants,
    day       bigint NOT NULL, -- its beginning
    events    bigint NOT NULL
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0); -- updated with each commit
