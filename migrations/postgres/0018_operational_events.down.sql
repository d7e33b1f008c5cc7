DROP TABLE rotation_notices;
ALTER TABLE subscriptions DROP COLUMN failures;
