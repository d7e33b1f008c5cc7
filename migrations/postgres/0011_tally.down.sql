DROP INDEX gated_events_by_acceptance;
DROP TABLE disposition_hours;
