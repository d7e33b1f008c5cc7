-- What each process makes of receivers that it spares. A row is written when that changes, by its process alone, and is gone
-- when the receiver gets all again; rows of a process whose heartbeat stopped say nothing.
CREATE TABLE circuits (
    tenant_id       TEXT    NOT NULL,
    subscription_id TEXT    NOT NULL,
    incarnation     TEXT    NOT NULL,
    since           INTEGER NOT NULL,
    open_until      INTEGER,          -- NULL while it is closed
    attempts        INTEGER NOT NULL, -- at once, while it is closed
    PRIMARY KEY (tenant_id, subscription_id, incarnation)
) WITHOUT ROWID;
