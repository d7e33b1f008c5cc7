-- What fan-out has counted of the events that a tenant's API accepted in an hour, written with the dispositions
-- themselves: what is there is held against it. One row is updated for each batch.
CREATE TABLE disposition_hours (
    hour           bigint  NOT NULL, -- its beginning
    events         bigint  NOT NULL,
    expected       bigint  NOT NULL, -- for each event the subscriptions that its tenant had
    deliveries     bigint  NOT NULL,
    not_matched    bigint  NOT NULL,
    feature_gated  bigint  NOT NULL,
    set_aside      bigint  NOT NULL,
    first_position bigint  NOT NULL, -- of the events' records in the log
    last_position  bigint  NOT NULL,
    due_at         bigint  NOT NULL, -- when it is checked next
    checked_at     bigint,
    unbalanced     boolean NOT NULL DEFAULT false,
    tenant_id      text    COLLATE "C" NOT NULL,
    first_delivery text    COLLATE "C", -- NULL while there is none
    last_delivery  text    COLLATE "C",
    PRIMARY KEY (tenant_id, hour)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.1);
CREATE INDEX disposition_hours_due ON disposition_hours (due_at);
CREATE INDEX disposition_hours_checked ON disposition_hours (checked_at);
CREATE INDEX disposition_hours_unbalanced ON disposition_hours (tenant_id, hour) WHERE unbalanced;
CREATE INDEX gated_events_by_acceptance ON gated_events (tenant_id, accepted_at);
