-- A tenant's part of what processes attempt at once, in proportion to the weights of the others.
ALTER TABLE tenants ADD COLUMN weight integer NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 100);
