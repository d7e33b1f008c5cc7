CREATE TABLE tenants (
    tenant_id  TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX tenants_by_age ON tenants (created_at, tenant_id);

CREATE TABLE tenant_features (
    tenant_id  TEXT    NOT NULL REFERENCES tenants,
    feature    TEXT    NOT NULL,
    enabled    INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, feature)
) WITHOUT ROWID;

-- Platform keys are no tenant's: their tenant_id is ''.
CREATE TABLE api_keys (
    tenant_id       TEXT    NOT NULL,
    key_id          TEXT    NOT NULL,
    hash            BLOB    NOT NULL UNIQUE, -- SHA-256 of the key
    name            TEXT    NOT NULL,
    prefix          TEXT    NOT NULL,
    scopes          TEXT    NOT NULL, -- JSON list
    subscription_id TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER, -- NULL for never
    revoked_at      INTEGER,
    last_used_at    INTEGER,
    PRIMARY KEY (tenant_id, key_id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX api_keys_by_id ON api_keys (key_id);

CREATE TABLE customers (
    tenant_id       TEXT    NOT NULL REFERENCES tenants,
    id              INTEGER NOT NULL,
    customer_number TEXT,
    name            TEXT,
    PRIMARY KEY (tenant_id, id)
) WITHOUT ROWID;

CREATE TABLE locations (
    tenant_id       TEXT    NOT NULL REFERENCES tenants,
    id              INTEGER NOT NULL,
    name            TEXT,
    city            TEXT,
    has_coordinates INTEGER,
    PRIMARY KEY (tenant_id, id)
) WITHOUT ROWID;

CREATE TABLE contacts (
    tenant_id    TEXT    NOT NULL REFERENCES tenants,
    id           INTEGER NOT NULL,
    display_name TEXT,
    PRIMARY KEY (tenant_id, id)
) WITHOUT ROWID;

CREATE TABLE external_ids (
    tenant_id     TEXT    NOT NULL REFERENCES tenants,
    source_system TEXT    NOT NULL,
    entity_type   TEXT    NOT NULL,
    ordinavo_id   INTEGER NOT NULL,
    external_id   TEXT    NOT NULL,
    PRIMARY KEY (tenant_id, source_system, entity_type, ordinavo_id)
) WITHOUT ROWID;

-- The answer that a write gave, for when it is asked again with the same Idempotency-Key.
CREATE TABLE idempotency_keys (
    key         BLOB    NOT NULL PRIMARY KEY, -- a digest of caller, tenant, route and Idempotency-Key
    fingerprint BLOB    NOT NULL,             -- a digest of the request's content
    token       TEXT    NOT NULL,
    reserved_at INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    sealed      BLOB                          -- the answer; NULL while the request is under way
) WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);
