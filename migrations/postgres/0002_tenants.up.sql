CREATE TABLE tenants (
    tenant_id  text   COLLATE "C" NOT NULL PRIMARY KEY,
    name       text   NOT NULL,
    created_at bigint NOT NULL
);
CREATE INDEX tenants_by_age ON tenants (created_at, tenant_id);

CREATE TABLE tenant_features (
    tenant_id  text    COLLATE "C" NOT NULL REFERENCES tenants,
    feature    text    COLLATE "C" NOT NULL,
    enabled    boolean NOT NULL,
    updated_at bigint  NOT NULL,
    PRIMARY KEY (tenant_id, feature)
);

-- Platform keys are no tenant's: their tenant_id is ''.
CREATE TABLE api_keys (
    tenant_id       text   COLLATE "C" NOT NULL,
    key_id          text   COLLATE "C" NOT NULL,
    hash            bytea  NOT NULL UNIQUE, -- SHA-256 of the key
    name            text   NOT NULL,
    prefix          text   NOT NULL,
    scopes          text   NOT NULL, -- JSON list
    subscription_id text   COLLATE "C" NOT NULL,
    created_at      bigint NOT NULL,
    expires_at      bigint, -- NULL for never
    revoked_at      bigint,
    last_used_at    bigint,
    PRIMARY KEY (tenant_id, key_id)
) WITH (fillfactor = 80); -- last_used_at is updated while the key is used
CREATE UNIQUE INDEX api_keys_by_id ON api_keys (key_id);

CREATE TABLE customers (
    tenant_id       text   COLLATE "C" NOT NULL REFERENCES tenants,
    id              bigint NOT NULL,
    customer_number text,
    name            text,
    PRIMARY KEY (tenant_id, id)
);

CREATE TABLE locations (
    tenant_id       text   COLLATE "C" NOT NULL REFERENCES tenants,
    id              bigint NOT NULL,
    name            text,
    city            text,
    has_coordinates boolean,
    PRIMARY KEY (tenant_id, id)
);

CREATE TABLE contacts (
    tenant_id    text   COLLATE "C" NOT NULL REFERENCES tenants,
    id           bigint NOT NULL,
    display_name text,
    PRIMARY KEY (tenant_id, id)
);

CREATE TABLE external_ids (
    tenant_id     text   COLLATE "C" NOT NULL REFERENCES tenants,
    source_system text   COLLATE "C" NOT NULL,
    entity_type   text   COLLATE "C" NOT NULL,
    ordinavo_id   bigint NOT NULL,
    external_id   text   NOT NULL,
    PRIMARY KEY (tenant_id, source_system, entity_type, ordinavo_id)
);

-- The answer that a write gave, for when it is asked again with the same Idempotency-Key.
CREATE TABLE idempotency_keys (
    key         bytea  NOT NULL PRIMARY KEY, -- a digest of caller, tenant, route and Idempotency-Key
    fingerprint bytea  NOT NULL,             -- a digest of the request's content
    token       text   NOT NULL,
    reserved_at bigint NOT NULL,
    expires_at  bigint NOT NULL,
    sealed      bytea                        -- the answer; NULL while the request is under way
) WITH (fillfactor = 70); -- each row is updated once, by its answer
CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at);
