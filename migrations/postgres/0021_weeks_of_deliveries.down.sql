UPDATE closed_deliveries SET week = 0 WHERE week <> 0;
ALTER TABLE closed_deliveries DETACH PARTITION closed_deliveries_kept;
DROP TABLE closed_deliveries;
DROP FUNCTION make_week;
ALTER TABLE closed_deliveries_kept RENAME TO closed_deliveries;
ALTER TABLE closed_deliveries DROP COLUMN week;
