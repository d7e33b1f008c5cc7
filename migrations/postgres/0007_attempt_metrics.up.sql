-- How many attempts ended in each minute, by subscription, type, outcome and bucket of their duration: a projection of
-- the log of deliveries, whose consumer group is 'metrics'.
CREATE TABLE attempt_metrics (
    tenant_id       text   COLLATE "C" NOT NULL,
    minute          bigint NOT NULL, -- since 1970
    subscription_id text   COLLATE "C" NOT NULL,
    event_type      text   COLLATE "C" NOT NULL,
    outcome         text   COLLATE "C" NOT NULL,
    bucket          int    NOT NULL,
    attempts        bigint NOT NULL,
    PRIMARY KEY (tenant_id, minute, subscription_id, event_type, outcome, bucket)
);
