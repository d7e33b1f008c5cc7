-- Failures in a row, of attempts that were not of operational events, as far as they are counted.
ALTER TABLE subscriptions ADD COLUMN failures integer NOT NULL DEFAULT 0;

-- Rotations of which admins are still to be told that the old secret ends.
CREATE TABLE rotation_notices (
    tenant_id       text COLLATE "C" NOT NULL,
    subscription_id text COLLATE "C" NOT NULL,
    notice_at       bigint NOT NULL,
    PRIMARY KEY (tenant_id, subscription_id)
);
CREATE INDEX rotation_notices_by_time ON rotation_notices (notice_at);
