-- The event store, which is also the log and the pub/sub (appending is publishing).
-- Every record of every topic, in commit order: SQLite has one writer, so position order is commit order.
CREATE TABLE records (
    position    INTEGER PRIMARY KEY AUTOINCREMENT,
    topic       TEXT    NOT NULL,
    tenant_id   TEXT    NOT NULL, -- '' for what is no single tenant's, like a commit of accepted events
    stream      TEXT    NOT NULL, -- 'subscription/sub_…', 'delivery/dlv_…'; '' outside any stream
    version     INTEGER NOT NULL, -- 1, 2, 3 … in its stream; 0 outside any stream
    type        TEXT    NOT NULL, -- the stored name of the change, like delivery.scheduled.v1
    data        BLOB    NOT NULL,
    metadata    TEXT    NOT NULL, -- JSON: actor, traceparent, what a publisher added
    recorded_at INTEGER NOT NULL  -- microseconds since 1970, UTC
);
CREATE UNIQUE INDEX records_by_stream ON records (tenant_id, stream, version) WHERE version > 0;
CREATE INDEX records_by_topic ON records (topic, position);

-- How far each consumer group has come in each topic.
CREATE TABLE consumer_offsets (
    consumer_group TEXT    NOT NULL,
    topic          TEXT    NOT NULL,
    position       INTEGER NOT NULL,
    PRIMARY KEY (consumer_group, topic)
) WITHOUT ROWID;
