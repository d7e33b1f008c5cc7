UPDATE records SET week = 0 WHERE week <> 0;
ALTER TABLE records DETACH PARTITION records_kept;
DROP TABLE records;
DROP FUNCTION make_records_week;
ALTER TABLE records_kept RENAME TO records;
ALTER TABLE records DROP COLUMN week;
