-- What each process makes of receivers that it spares. A row is written when that changes, by its process alone, and is gone
-- when the receiver gets all again; rows of a process whose heartbeat stopped say nothing.
CREATE TABLE circuits (
    since           bigint NOT NULL,
    open_until      bigint,           -- NULL while it is closed
    attempts        integer NOT NULL, -- at once, while it is closed
    tenant_id       text COLLATE "C" NOT NULL,
    subscription_id text COLLATE "C" NOT NULL,
    incarnation     text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, subscription_id, incarnation)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0); -- few rows, often updated
