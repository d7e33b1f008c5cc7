-- What fan-out makes of an event beside its deliveries is kept by the week in which the event was accepted, so that retention
-- drops a week and deletes no rows. Week 0 is the table that there was: it has what belongs to deliveries that are kept for
-- longer, and what comes from who does not know of weeks.
ALTER TABLE bodies ADD COLUMN week smallint NOT NULL DEFAULT 0; -- since 1970
ALTER TABLE bodies RENAME TO bodies_kept;
CREATE TABLE bodies (LIKE bodies_kept INCLUDING DEFAULTS) PARTITION BY RANGE (week);
ALTER TABLE bodies ATTACH PARTITION bodies_kept FOR VALUES FROM (0) TO (1);

ALTER TABLE gated_events ADD COLUMN week smallint NOT NULL DEFAULT 0; -- since 1970
ALTER TABLE gated_events RENAME TO gated_events_kept;
CREATE TABLE gated_events (LIKE gated_events_kept INCLUDING DEFAULTS) PARTITION BY RANGE (week);
ALTER TABLE gated_events ATTACH PARTITION gated_events_kept FOR VALUES FROM (0) TO (1);

-- A part's keys are its own: an event has one week, and all that is made of it goes there or to week 0.
CREATE TABLE bodies_default (LIKE bodies_kept INCLUDING ALL);
ALTER TABLE bodies ATTACH PARTITION bodies_default DEFAULT;
CREATE TABLE gated_events_default (LIKE gated_events_kept INCLUDING ALL);
ALTER TABLE gated_events ATTACH PARTITION gated_events_default DEFAULT;

SELECT make_week(whole, (extract(epoch FROM now())::bigint / 604800)::integer + ahead)
FROM unnest(ARRAY['bodies', 'gated_events']) AS whole, generate_series(0, 2) AS ahead;
