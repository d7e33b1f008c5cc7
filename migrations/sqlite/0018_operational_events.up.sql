-- Failures in a row, of attempts that were not of operational events, as far as they are counted.
ALTER TABLE subscriptions ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;

-- Rotations of which admins are still to be told that the old secret ends.
CREATE TABLE rotation_notices (
    tenant_id       TEXT NOT NULL,
    subscription_id TEXT NOT NULL,
    notice_at       INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, subscription_id)
) WITHOUT ROWID;
CREATE INDEX rotation_notices_by_time ON rotation_notices (notice_at);
