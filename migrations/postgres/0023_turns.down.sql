-- Nothing but this table knows that they are to be fanned out.
CREATE TABLE left_over (events bigint CONSTRAINT let_serve_fan_out_the_deferred_events_first CHECK (events = 0));
INSERT INTO left_over SELECT count(*) FROM deferred_events;
DROP TABLE left_over;
DROP TABLE deferred_events;
ALTER TABLE incarnations DROP COLUMN knows_turns;
