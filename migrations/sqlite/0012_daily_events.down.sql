DROP TABLE daily_events;
