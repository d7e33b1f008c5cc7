-- Two indexes of the log's weeks took 360 bytes a delivery, and take 170.
--
-- By topic its pages stayed half empty: a page that is not an index's last is split in the middle, and 'deliveries', which has
-- nearly all records, was the first of the topics. It is the last now, whose pages are filled to nine tenths. A database of more
-- than one shard has that of its last shard alone.
--
-- By stream a delivery's records had an entry each. They share one where the version is no part of it, and pages leave
-- room for it to grow. Who reads a stream sorts what he got. Versions of a delivery are held by its row in open_deliveries or
-- closed_deliveries; those of subscriptions, in week 0, by its index as before.
LOCK TABLE records IN ACCESS EXCLUSIVE MODE;
DROP INDEX records_default_by_topic, records_default_by_stream;
CREATE UNIQUE INDEX records_default_by_topic ON records_default (topic DESC, position);
CREATE INDEX records_default_by_stream ON records_default (tenant_id, stream) WITH (fillfactor = 70) WHERE version > 0;

-- Weeks without a record are made anew, like the default: those ahead, and all of a new database.
DO $$
DECLARE
    part text;
    used boolean;
BEGIN
    FOR part IN SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'records'::regclass AND relname ~ '^records_w[0-9]+$' LOOP
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I)', part) INTO used;
        IF NOT used THEN
            EXECUTE format('DROP TABLE %I', part);
            PERFORM make_week('records', substr(part, 10)::integer);
        END IF;
    END LOOP;
END $$;
DROP FUNCTION make_records_week;

-- A burst's rows make the queue as large as it gets. Room for a second version of each was a third of it, and kept no index from
-- being written: a lease takes its row out of one, so it writes all of them, on whatever page the row is.
ALTER TABLE open_deliveries SET (fillfactor = 95);
