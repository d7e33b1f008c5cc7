-- Bulk retries and replays. A job that is open has a turn; the one with the lowest is worked on next.
CREATE TABLE jobs (
    turn_at   bigint,                    -- NULL once it is finished
    tenant_id text COLLATE "C" NOT NULL,
    job_id    text COLLATE "C" NOT NULL,
    state     bytea NOT NULL,            -- JSON of the whole state
    PRIMARY KEY (tenant_id, job_id)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0); -- updated with each step
CREATE INDEX jobs_by_turn ON jobs (turn_at) WHERE turn_at IS NOT NULL;
CREATE INDEX jobs_open ON jobs (tenant_id) WHERE turn_at IS NOT NULL;
