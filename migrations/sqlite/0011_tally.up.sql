-- What fan-out has counted of the events that a tenant's API accepted in an hour, written with the dispositions
-- themselves: what is there is held against it.
CREATE TABLE disposition_hours (
    tenant_id      TEXT    NOT NULL,
    hour           INTEGER NOT NULL, -- its beginning
    events         INTEGER NOT NULL,
    expected       INTEGER NOT NULL, -- for each event the subscriptions that its tenant had
    deliveries     INTEGER NOT NULL,
    not_matched    INTEGER NOT NULL,
    feature_gated  INTEGER NOT NULL,
    set_aside      INTEGER NOT NULL,
    first_position INTEGER NOT NULL, -- of the events' records in the log
    last_position  INTEGER NOT NULL,
    first_delivery TEXT,             -- NULL while there is none
    last_delivery  TEXT,
    due_at         INTEGER NOT NULL, -- when it is checked next
    checked_at     INTEGER,
    unbalanced     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, hour)
) WITHOUT ROWID;
CREATE INDEX disposition_hours_due ON disposition_hours (due_at);
CREATE INDEX disposition_hours_checked ON disposition_hours (checked_at);
CREATE INDEX disposition_hours_unbalanced ON disposition_hours (tenant_id, hour) WHERE unbalanced <> 0;
CREATE INDEX gated_events_by_acceptance ON gated_events (tenant_id, accepted_at);
