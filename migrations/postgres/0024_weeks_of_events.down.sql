UPDATE events SET week = 0 WHERE week <> 0;
ALTER TABLE events DETACH PARTITION events_kept;
DROP TABLE events;
ALTER TABLE events_kept RENAME TO events;
ALTER TABLE events DROP COLUMN week;
