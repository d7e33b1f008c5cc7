UPDATE bodies SET week = 0 WHERE week <> 0;
ALTER TABLE bodies DETACH PARTITION bodies_kept;
DROP TABLE bodies;
ALTER TABLE bodies_kept RENAME TO bodies;
ALTER TABLE bodies DROP COLUMN week;

UPDATE gated_events SET week = 0 WHERE week <> 0;
ALTER TABLE gated_events DETACH PARTITION gated_events_kept;
DROP TABLE gated_events;
ALTER TABLE gated_events_kept RENAME TO gated_events;
ALTER TABLE gated_events DROP COLUMN week;
