DROP TABLE consumer_offsets;
DROP TABLE records;
DROP TABLE log_shards;
DROP SEQUENCE log_numbers;
