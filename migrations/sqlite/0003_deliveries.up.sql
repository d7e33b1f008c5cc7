-- What was accepted. The log names each event; its content is here, once.
CREATE TABLE events (
    tenant_id   TEXT    NOT NULL,
    event_id    TEXT    NOT NULL,
    sequence    INTEGER NOT NULL, -- in the order of acceptance: the log's position, then the place in its record
    event_type  TEXT    NOT NULL,
    occurred_at INTEGER NOT NULL,
    accepted_at INTEGER NOT NULL,
    fingerprint BLOB    NOT NULL,
    content     BLOB    NOT NULL,
    traceparent TEXT    NOT NULL,
    PRIMARY KEY (tenant_id, event_id)
);
CREATE UNIQUE INDEX events_by_sequence ON events (tenant_id, sequence);

-- A subscription's state, written with the changes that lead to it.
CREATE TABLE subscriptions (
    tenant_id       TEXT    NOT NULL,
    subscription_id TEXT    NOT NULL,
    status          TEXT    NOT NULL,
    version         INTEGER NOT NULL,
    state           BLOB    NOT NULL, -- JSON of the whole state
    failing_since   INTEGER,          -- NULL when the last attempt succeeded, or none was made
    PRIMARY KEY (tenant_id, subscription_id)
);

-- Signing secrets are sealed, and kept apart from the log, which is never rewritten.
CREATE TABLE secrets (
    tenant_id       TEXT    NOT NULL,
    subscription_id TEXT    NOT NULL,
    secret_id       TEXT    NOT NULL,
    sealed          BLOB    NOT NULL,
    created_at      INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, subscription_id, secret_id)
) WITHOUT ROWID;

-- What a changed subscription asks of its open deliveries; the newest change wins.
CREATE TABLE sweeps (
    tenant_id       TEXT    NOT NULL,
    subscription_id TEXT    NOT NULL,
    action          TEXT    NOT NULL,
    turn_at         INTEGER NOT NULL, -- the sweep with the lowest is worked on next
    PRIMARY KEY (tenant_id, subscription_id)
) WITHOUT ROWID;

-- A body is rendered once for each distinct view of an event, and shared by its deliveries.
CREATE TABLE bodies (
    tenant_id TEXT    NOT NULL,
    event_id  TEXT    NOT NULL,
    number    INTEGER NOT NULL,
    body      BLOB    NOT NULL,
    PRIMARY KEY (tenant_id, event_id, number)
);

CREATE TABLE gated_events (
    tenant_id       TEXT NOT NULL,
    event_id        TEXT NOT NULL,
    subscription_id TEXT NOT NULL,
    feature         TEXT NOT NULL,
    PRIMARY KEY (tenant_id, event_id, subscription_id)
) WITHOUT ROWID;

-- The queue: deliveries that are not closed. It stays small, since what is done leaves it.
CREATE TABLE open_deliveries (
    tenant_id            TEXT    NOT NULL,
    delivery_id          TEXT    NOT NULL,
    event_id             TEXT    NOT NULL,
    event_type           TEXT    NOT NULL,
    subscription_id      TEXT    NOT NULL,
    subscription_version INTEGER NOT NULL,
    body_number          INTEGER NOT NULL,
    warnings             TEXT    NOT NULL, -- JSON list
    status               TEXT    NOT NULL,
    version              INTEGER NOT NULL,
    attempts             INTEGER NOT NULL,
    failures             INTEGER NOT NULL,
    abandonments         INTEGER NOT NULL,
    created_at           INTEGER NOT NULL,
    updated_at           INTEGER NOT NULL,
    due_at               INTEGER,          -- NULL while parked
    accepted_at          INTEGER NOT NULL,
    traceparent          TEXT    NOT NULL,
    lease                TEXT,             -- the incarnation that holds it; NULL for none
    leased_at            INTEGER,
    PRIMARY KEY (tenant_id, delivery_id)
) WITHOUT ROWID;
-- A lane is a subscription, whose ID is unique over all tenants; of each lane the oldest due is
-- leased first. Parked rows are not in it, leased ones neither.
CREATE INDEX open_deliveries_by_lane ON open_deliveries (subscription_id, due_at, delivery_id)
    WHERE lease IS NULL AND due_at IS NOT NULL;
CREATE INDEX open_deliveries_parked ON open_deliveries (tenant_id, subscription_id, delivery_id) WHERE due_at IS NULL;
CREATE INDEX open_deliveries_by_lease ON open_deliveries (lease) WHERE lease IS NOT NULL;
CREATE INDEX open_deliveries_by_event ON open_deliveries (tenant_id, event_id);
CREATE INDEX open_deliveries_by_subscription ON open_deliveries (tenant_id, subscription_id, delivery_id);

-- Deliveries that are closed.
CREATE TABLE closed_deliveries (
    tenant_id            TEXT    NOT NULL,
    delivery_id          TEXT    NOT NULL,
    event_id             TEXT    NOT NULL,
    event_type           TEXT    NOT NULL,
    subscription_id      TEXT    NOT NULL,
    subscription_version INTEGER NOT NULL,
    body_number          INTEGER NOT NULL,
    warnings             TEXT    NOT NULL,
    status               TEXT    NOT NULL,
    version              INTEGER NOT NULL,
    attempts             INTEGER NOT NULL,
    failures             INTEGER NOT NULL,
    abandonments         INTEGER NOT NULL,
    created_at           INTEGER NOT NULL,
    updated_at           INTEGER NOT NULL,
    accepted_at          INTEGER NOT NULL,
    traceparent          TEXT    NOT NULL,
    PRIMARY KEY (tenant_id, delivery_id)
) WITHOUT ROWID;
CREATE INDEX closed_deliveries_by_event ON closed_deliveries (tenant_id, event_id);
CREATE INDEX closed_deliveries_by_subscription ON closed_deliveries (tenant_id, subscription_id, delivery_id);
CREATE INDEX closed_deliveries_by_status ON closed_deliveries (tenant_id, status, delivery_id) WHERE status <> 'succeeded';

-- Leases belong to an incarnation of a process, which says that it lives.
CREATE TABLE incarnations (
    incarnation  TEXT    NOT NULL PRIMARY KEY,
    started_at   INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL
) WITHOUT ROWID;
