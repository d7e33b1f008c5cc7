-- Generations of a projection: readers see the live one. A rebuild counts the log anew as the newest, which then goes
-- live; the consumer group of the generation n is '<name>/<n>'. What neither column names is left over.
CREATE TABLE projections (
    name   TEXT    NOT NULL PRIMARY KEY,
    live   INTEGER NOT NULL,
    newest INTEGER NOT NULL -- above live while a rebuild is under way, or when one was broken off
);
INSERT INTO projections (name, live, newest) VALUES ('metrics', 1, 1);
UPDATE consumer_offsets SET consumer_group = 'metrics/1' WHERE consumer_group = 'metrics';

ALTER TABLE attempt_metrics RENAME TO old_metrics;
CREATE TABLE attempt_metrics (
    tenant_id       TEXT    NOT NULL,
    generation      INTEGER NOT NULL,
    minute          INTEGER NOT NULL, -- since 1970
    subscription_id TEXT    NOT NULL,
    event_type      TEXT    NOT NULL,
    outcome         TEXT    NOT NULL,
    bucket          INTEGER NOT NULL,
    attempts        INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, generation, minute, subscription_id, event_type, outcome, bucket)
);
INSERT INTO attempt_metrics SELECT tenant_id, 1, minute, subscription_id, event_type, outcome, bucket, attempts FROM old_metrics;
DROP TABLE old_metrics;
