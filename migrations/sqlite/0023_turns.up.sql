-- Accepted events that fan-out has come past and left for their tenant's turn. A row is of one record.
CREATE TABLE deferred_events (
    tenant_id TEXT    NOT NULL,
    sequence  INTEGER NOT NULL, -- that of the first of them
    events    TEXT    NOT NULL, -- JSON: their IDs and their places in the record
    PRIMARY KEY (tenant_id, sequence)
) WITHOUT ROWID;
