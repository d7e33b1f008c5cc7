-- Accepted events that fan-out has come past and left for their tenant's turn. A row is of one record. Rows come and go
-- fast while a tenant has many: the dead ones at the beginning of its part would have to be walked over.
CREATE TABLE deferred_events (
    tenant_id text   COLLATE "C" NOT NULL,
    sequence  bigint NOT NULL, -- that of the first of them
    events    bytea  NOT NULL, -- JSON: their IDs and their places in the record
    PRIMARY KEY (tenant_id, sequence)
) WITH (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

-- A process of before there were turns takes for fanned out what waits for one, so nothing is deferred while it runs.
ALTER TABLE incarnations ADD COLUMN knows_turns boolean NOT NULL DEFAULT false;
