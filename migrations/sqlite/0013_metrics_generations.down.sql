ALTER TABLE attempt_metrics RENAME TO new_metrics;
CREATE TABLE attempt_metrics (
    tenant_id       TEXT    NOT NULL,
    minute          INTEGER NOT NULL, -- since 1970
    subscription_id TEXT    NOT NULL,
    event_type      TEXT    NOT NULL,
    outcome         TEXT    NOT NULL,
    bucket          INTEGER NOT NULL,
    attempts        INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, minute, subscription_id, event_type, outcome, bucket)
);
INSERT INTO attempt_metrics SELECT tenant_id, minute, subscription_id, event_type, outcome, bucket, attempts FROM new_metrics
WHERE generation = (SELECT live FROM projections WHERE name = 'metrics');
DROP TABLE new_metrics;

UPDATE consumer_offsets SET consumer_group = 'metrics' WHERE consumer_group = (SELECT 'metrics/' || live FROM projections WHERE name = 'metrics');
DELETE FROM consumer_offsets WHERE consumer_group LIKE 'metrics/%';
DROP TABLE projections;
