-- Deliveries that ended are kept by the week in which they did, so that retention drops a week and deletes no rows. Week 0
-- is the table that there was: it has dead letters, which are kept for another time, and what comes from who does not know
-- of weeks.
ALTER TABLE closed_deliveries ADD COLUMN week smallint NOT NULL DEFAULT 0; -- since 1970
ALTER TABLE closed_deliveries RENAME TO closed_deliveries_kept;
CREATE TABLE closed_deliveries (LIKE closed_deliveries_kept INCLUDING DEFAULTS) PARTITION BY RANGE (week);
ALTER TABLE closed_deliveries ATTACH PARTITION closed_deliveries_kept FOR VALUES FROM (0) TO (1);

-- A part's keys are its own: a delivery is in one part alone, since its row in open_deliveries leads there.
CREATE TABLE closed_deliveries_default (LIKE closed_deliveries_kept INCLUDING ALL);
ALTER TABLE closed_deliveries ATTACH PARTITION closed_deliveries_default DEFAULT;

-- make_week makes a table's part for a week, like its default, and with what went there meanwhile. Who reads and writes waits
-- for the last statements alone.
CREATE FUNCTION make_week(whole text, w integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part text := whole || '_w' || w;
    other text := whole || '_default';
BEGIN
    IF to_regclass(part) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL) WITH (autovacuum_vacuum_insert_scale_factor = 0.02)', part, other);
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', other);
    EXECUTE format('WITH astray AS (DELETE FROM %I WHERE week = %s RETURNING *) INSERT INTO %I SELECT * FROM astray', other, w, part);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', whole, part, w, w + 1);
END $$;

SELECT make_week('closed_deliveries', (extract(epoch FROM now())::bigint / 604800)::integer + ahead) FROM generate_series(0, 2) AS ahead;
