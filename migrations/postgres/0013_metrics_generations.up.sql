-- Generations of a projection: readers see the live one. A rebuild counts the log anew as the newest, which then goes
-- live; the consumer group of the generation n is '<name>/<n>'. What neither column names is left over.
CREATE TABLE projections (
    name   text   COLLATE "C" PRIMARY KEY,
    live   bigint NOT NULL,
    newest bigint NOT NULL -- above live while a rebuild is under way, or when one was broken off
);
INSERT INTO projections (name, live, newest) VALUES ('metrics', 1, 1);
UPDATE consumer_offsets SET consumer_group = 'metrics/1' WHERE consumer_group = 'metrics';

ALTER TABLE attempt_metrics ADD COLUMN generation bigint NOT NULL DEFAULT 1;
ALTER TABLE attempt_metrics ALTER COLUMN generation DROP DEFAULT, DROP CONSTRAINT attempt_metrics_pkey,
    ADD PRIMARY KEY (tenant_id, generation, minute, subscription_id, event_type, outcome, bucket);
