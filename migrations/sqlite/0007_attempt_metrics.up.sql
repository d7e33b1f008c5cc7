-- How many attempts ended in each minute, by subscription, type, outcome and bucket of their duration: a projection of
-- the log of deliveries, whose consumer group is 'metrics'.
CREATE TABLE attempt_metrics (
    tenant_id       TEXT    NOT NULL,
    minute          INTEGER NOT NULL, -- since 1970
    subscription_id TEXT    NOT NULL,
    event_type      TEXT    NOT NULL,
    outcome         TEXT    NOT NULL,
    bucket          INTEGER NOT NULL,
    attempts        INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, minute, subscription_id, event_type, outcome, bucket)
);
