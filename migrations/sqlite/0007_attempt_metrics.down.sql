DROP TABLE attempt_metrics;
DELETE FROM consumer_offsets WHERE consumer_group = 'metrics';
