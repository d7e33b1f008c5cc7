-- What was accepted. The log names each event; its content is here, once.
CREATE TABLE events (
    tenant_id   text   COLLATE "C" NOT NULL,
    event_id    text   COLLATE "C" NOT NULL,
    sequence    bigint NOT NULL, -- in the order of acceptance: the log's position, then the place in its record
    occurred_at bigint NOT NULL,
    accepted_at bigint NOT NULL,
    event_type  text   COLLATE "C" NOT NULL,
    fingerprint bytea  NOT NULL,
    traceparent text   NOT NULL,
    content     bytea  NOT NULL,
    CONSTRAINT events_pkey PRIMARY KEY (tenant_id, event_id)
);
CREATE UNIQUE INDEX events_by_sequence ON events (tenant_id, sequence);

-- A subscription's state, written with the changes that lead to it.
CREATE TABLE subscriptions (
    tenant_id       text    COLLATE "C" NOT NULL,
    subscription_id text    COLLATE "C" NOT NULL,
    status          text    COLLATE "C" NOT NULL,
    version         bigint  NOT NULL,
    max_in_flight   integer NOT NULL,
    state           bytea   NOT NULL, -- JSON of the whole state
    failing_since   bigint,           -- NULL when the last attempt succeeded, or none was made
    PRIMARY KEY (tenant_id, subscription_id)
) WITH (fillfactor = 80); -- failing_since changes with the lane's health

-- Signing secrets are sealed, and kept apart from the log, which is never rewritten.
CREATE TABLE secrets (
    tenant_id       text   COLLATE "C" NOT NULL,
    subscription_id text   COLLATE "C" NOT NULL,
    secret_id       text   COLLATE "C" NOT NULL,
    sealed          bytea  NOT NULL,
    created_at      bigint NOT NULL,
    PRIMARY KEY (tenant_id, subscription_id, secret_id)
);

-- What a changed subscription asks of its open deliveries; the newest change wins.
CREATE TABLE sweeps (
    tenant_id       text   COLLATE "C" NOT NULL,
    subscription_id text   COLLATE "C" NOT NULL,
    action          text   COLLATE "C" NOT NULL,
    turn_at         bigint NOT NULL, -- the sweep with the lowest is worked on next
    PRIMARY KEY (tenant_id, subscription_id)
);

-- A body is rendered once for each distinct view of an event, and shared by its deliveries.
CREATE TABLE bodies (
    tenant_id text     COLLATE "C" NOT NULL,
    event_id  text     COLLATE "C" NOT NULL,
    number    smallint NOT NULL,
    body      bytea    NOT NULL,
    PRIMARY KEY (tenant_id, event_id, number)
);

CREATE TABLE gated_events (
    tenant_id       text COLLATE "C" NOT NULL,
    event_id        text COLLATE "C" NOT NULL,
    subscription_id text COLLATE "C" NOT NULL,
    feature         text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, event_id, subscription_id)
);

-- The queue: deliveries that are not closed. It stays small, since what is done leaves it.
CREATE TABLE open_deliveries (
    due_at               bigint,           -- NULL while parked
    leased_at            bigint,
    accepted_at          bigint   NOT NULL,
    created_at           bigint   NOT NULL,
    updated_at           bigint   NOT NULL,
    version              bigint   NOT NULL,
    subscription_version bigint   NOT NULL,
    attempts             integer  NOT NULL,
    failures             integer  NOT NULL,
    abandonments         integer  NOT NULL,
    body_number          smallint NOT NULL,
    tenant_id            text     COLLATE "C" NOT NULL,
    delivery_id          text     COLLATE "C" NOT NULL,
    event_id             text     COLLATE "C" NOT NULL,
    event_type           text     COLLATE "C" NOT NULL,
    subscription_id      text     COLLATE "C" NOT NULL,
    status               text     COLLATE "C" NOT NULL,
    lease                text     COLLATE "C", -- the incarnation that holds it; NULL for none
    traceparent          text     NOT NULL,
    warnings             text     NOT NULL,    -- JSON list
    PRIMARY KEY (tenant_id, delivery_id)
) WITH (
    -- A lease or a retry writes a new version of the row: it finds room on the row's own page.
    fillfactor = 70,
    -- Rows come and go at the rate of deliveries, so a share of the table says nothing: vacuum after so many
    -- dead rows, whatever the table's size, and without a pause, so that it keeps up.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 20000,
    -- Every plan on this table is a search by index, so statistics need not follow each wave.
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 50000
);
-- A lane is a subscription, whose ID is unique over all tenants; of each lane the oldest due is
-- leased first. Parked rows are not in it, leased ones neither.
CREATE INDEX open_deliveries_by_lane ON open_deliveries (subscription_id, due_at, delivery_id)
    WHERE lease IS NULL AND due_at IS NOT NULL;
CREATE INDEX open_deliveries_parked ON open_deliveries (subscription_id, delivery_id) WHERE due_at IS NULL;
CREATE INDEX open_deliveries_by_lease ON open_deliveries (lease) WHERE lease IS NOT NULL;
CREATE INDEX open_deliveries_by_event ON open_deliveries (tenant_id, event_id);
CREATE INDEX open_deliveries_by_subscription ON open_deliveries (tenant_id, subscription_id, delivery_id);

-- Deliveries that are closed: written once, and deleted by retention.
CREATE TABLE closed_deliveries (
    accepted_at          bigint   NOT NULL,
    created_at           bigint   NOT NULL,
    updated_at           bigint   NOT NULL,
    version              bigint   NOT NULL,
    subscription_version bigint   NOT NULL,
    attempts             integer  NOT NULL,
    failures             integer  NOT NULL,
    abandonments         integer  NOT NULL,
    body_number          smallint NOT NULL,
    tenant_id            text     COLLATE "C" NOT NULL,
    delivery_id          text     COLLATE "C" NOT NULL,
    event_id             text     COLLATE "C" NOT NULL,
    event_type           text     COLLATE "C" NOT NULL,
    subscription_id      text     COLLATE "C" NOT NULL,
    status               text     COLLATE "C" NOT NULL,
    traceparent          text     NOT NULL,
    warnings             text     NOT NULL,
    PRIMARY KEY (tenant_id, delivery_id)
);
CREATE INDEX closed_deliveries_by_event ON closed_deliveries (tenant_id, event_id);
CREATE INDEX closed_deliveries_by_subscription ON closed_deliveries (tenant_id, subscription_id, delivery_id);
CREATE INDEX closed_deliveries_by_status ON closed_deliveries (tenant_id, status, delivery_id) WHERE status <> 'succeeded';

-- Leases belong to an incarnation of a process, which says that it lives. Each row is updated every second.
CREATE TABLE incarnations (
    incarnation  text   COLLATE "C" NOT NULL PRIMARY KEY,
    started_at   bigint NOT NULL,
    heartbeat_at bigint NOT NULL,
    session      text   -- the application_name of its listening connection; NULL while it has none
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
