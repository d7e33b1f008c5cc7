-- IDs, names of streams and topics are compared by bytes (COLLATE "C"), as the service does, whatever the
-- database's own collation. Times are microseconds since 1970, UTC. JSON and bodies are bytea:
-- PostgreSQL's text and jsonb refuse \u0000.

-- Positions are drawn from one sequence; a position is number * shards + shard, so that it names its shard.
-- The sequence must not be cached by connections: position order is commit order.
CREATE SEQUENCE log_numbers AS bigint CACHE 1;

-- How many shards the sharded topics have; fixed when the database is made.
CREATE TABLE log_shards (
    only_row boolean  NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    shards   smallint NOT NULL CHECK (shards BETWEEN 1 AND 64)
);

-- The event store, which is also the log and the pub/sub (appending is publishing). Within a shard position
-- order is commit order: who appends holds an advisory lock from before it draws positions until it has committed.
CREATE TABLE records (
    position    bigint NOT NULL,
    recorded_at bigint NOT NULL,
    version     bigint NOT NULL,             -- 1, 2, 3 … in its stream; 0 outside any stream
    topic       text   COLLATE "C" NOT NULL, -- a shard of a sharded topic has its number behind a colon
    tenant_id   text   COLLATE "C" NOT NULL, -- '' for what is no single tenant's, like a commit of accepted events
    stream      text   COLLATE "C" NOT NULL, -- 'subscription/sub_…', 'delivery/dlv_…'; '' outside any stream
    type        text   COLLATE "C" NOT NULL, -- the stored name of the change, like delivery.scheduled.v1
    data        bytea  NOT NULL,
    metadata    bytea  NOT NULL              -- JSON: actor, traceparent, what a publisher added
) WITH (
    -- Rows are only added, and deleted by retention: visibility is to be noted soon, for index scans.
    autovacuum_vacuum_insert_scale_factor = 0.02
);
CREATE UNIQUE INDEX records_by_topic ON records (topic, position);
CREATE UNIQUE INDEX records_by_stream ON records (tenant_id, stream, version) WHERE version > 0;

-- How far each consumer group has come in each topic. One row is updated for each batch, over and over, while an
-- old snapshot keeps its dead versions: room on its page keeps the updates HOT.
CREATE TABLE consumer_offsets (
    consumer_group text   COLLATE "C" NOT NULL,
    topic          text   COLLATE "C" NOT NULL,
    position       bigint NOT NULL,
    holder         text   NOT NULL DEFAULT '', -- the process that acknowledged last; others stand by
    PRIMARY KEY (consumer_group, topic)
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
