DELETE FROM attempt_metrics WHERE generation <> (SELECT live FROM projections WHERE name = 'metrics');
ALTER TABLE attempt_metrics DROP CONSTRAINT attempt_metrics_pkey, DROP COLUMN generation,
    ADD PRIMARY KEY (tenant_id, minute, subscription_id, event_type, outcome, bucket);

UPDATE consumer_offsets SET consumer_group = 'metrics' WHERE consumer_group = (SELECT 'metrics/' || live FROM projections WHERE name = 'metrics');
DELETE FROM consumer_offsets WHERE consumer_group LIKE 'metrics/%';
DROP TABLE projections;
