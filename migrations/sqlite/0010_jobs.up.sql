-- Bulk retries and replays. A job that is open has a turn; the one with the lowest is worked on next.
CREATE TABLE jobs (
    tenant_id TEXT    NOT NULL,
    job_id    TEXT    NOT NULL,
    turn_at   INTEGER,          -- NULL once it is finished
    state     BLOB    NOT NULL, -- JSON of the whole state
    PRIMARY KEY (tenant_id, job_id)
);
CREATE INDEX jobs_by_turn ON jobs (turn_at) WHERE turn_at IS NOT NULL;
CREATE INDEX jobs_open ON jobs (tenant_id) WHERE turn_at IS NOT NULL;
