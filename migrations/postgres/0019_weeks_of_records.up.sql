-- Records are kept by the week in which they are old, so that retention drops a week and deletes no rows. The table that
-- there was becomes the part of what is kept for longer, week 0, without being rewritten: who does not know of weeks
-- writes to it, too.
ALTER TABLE records ADD COLUMN week smallint NOT NULL DEFAULT 0; -- since 1970; 0 for what no week's end ends
ALTER TABLE records RENAME TO records_kept;
CREATE TABLE records (LIKE records_kept INCLUDING DEFAULTS) PARTITION BY RANGE (week);
ALTER TABLE records ATTACH PARTITION records_kept FOR VALUES FROM (0) TO (1);

-- A part's indexes are its own: those of the whole would have to end with the week. Positions and IDs differ by how they
-- are made, a stream's versions by its row in subscriptions, open_deliveries or closed_deliveries.
-- The default is for clocks that go wrong, and for when nobody has made a week ahead.
CREATE TABLE records_default (LIKE records INCLUDING DEFAULTS);
CREATE UNIQUE INDEX records_default_by_topic ON records_default (topic, position);
CREATE UNIQUE INDEX records_default_by_stream ON records_default (tenant_id, stream, version) WHERE version > 0;
ALTER TABLE records ATTACH PARTITION records_default DEFAULT;

-- make_records_week makes the part for a week, with what went to the default meanwhile. Who reads and appends waits for
-- the last statements alone.
CREATE FUNCTION make_records_week(w integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part text := 'records_w' || w;
BEGIN
    IF to_regclass(part) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE records INCLUDING DEFAULTS) WITH (autovacuum_vacuum_insert_scale_factor = 0.02)', part);
    EXECUTE format('CREATE UNIQUE INDEX %I ON %I (topic, position)', part || '_by_topic', part);
    EXECUTE format('CREATE UNIQUE INDEX %I ON %I (tenant_id, stream, version) WHERE version > 0', part || '_by_stream', part);
    LOCK TABLE records_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('WITH astray AS (DELETE FROM records_default WHERE week = %s RETURNING *) INSERT INTO %I SELECT * FROM astray', w, part);
    EXECUTE format('ALTER TABLE records ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', part, w, w + 1);
END $$;

SELECT make_records_week((extract(epoch FROM now())::bigint / 604800)::integer + ahead) FROM generate_series(0, 2) AS ahead;
