DROP INDEX api_keys_live;
