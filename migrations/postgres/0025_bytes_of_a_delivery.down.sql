-- Weeks that there are keep their indexes, which serve the queries of before as well.
DROP INDEX records_default_by_topic, records_default_by_stream;
CREATE UNIQUE INDEX records_default_by_topic ON records_default (topic, position);
CREATE UNIQUE INDEX records_default_by_stream ON records_default (tenant_id, stream, version) WHERE version > 0;

CREATE FUNCTION make_records_week(w integer) RETURNS void LANGUAGE sql AS $$ SELECT make_week('records', w) $$;

ALTER TABLE open_deliveries SET (fillfactor = 70);
