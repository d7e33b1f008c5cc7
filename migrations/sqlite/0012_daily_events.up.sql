-- How many events each tenant sent on the last day on which it sent any: counted where there is a quota, in the
-- transactions that accept them.
CREATE TABLE daily_events (
    tenant_id TEXT    NOT NULL PRIMARY KEY REFERENCES tenants,
    day       INTEGER NOT NULL, -- its beginning
    events    INTEGER NOT NULL
) WITHOUT ROWID;
