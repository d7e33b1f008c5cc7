-- Accepted events are kept by the week in which they were, so that retention drops a week and deletes no rows. Week 0 is the
-- table that there was: it has what belongs to deliveries that are kept for longer.
ALTER TABLE events ADD COLUMN week smallint NOT NULL DEFAULT 0; -- since 1970
ALTER TABLE events RENAME TO events_kept;
CREATE TABLE events (LIKE events_kept INCLUDING DEFAULTS) PARTITION BY RANGE (week);
ALTER TABLE events ATTACH PARTITION events_kept FOR VALUES FROM (0) TO (1);

-- Who does not know of weeks puts an event where others do, whose key then meets it.
ALTER TABLE ONLY events ALTER COLUMN week SET DEFAULT (extract(epoch FROM now())::bigint / 604800)::smallint;

-- A part's keys are its own. That an event is not accepted in two weeks is seen to under the log's lock.
CREATE TABLE events_default (LIKE events_kept INCLUDING ALL);
ALTER TABLE events ATTACH PARTITION events_default DEFAULT;

SELECT make_week('events', (extract(epoch FROM now())::bigint / 604800)::integer + ahead) FROM generate_series(0, 2) AS ahead;
