DROP TABLE idempotency_keys;
DROP TABLE external_ids;
DROP TABLE contacts;
DROP TABLE locations;
DROP TABLE customers;
DROP TABLE api_keys;
DROP TABLE tenant_features;
DROP TABLE tenants;
