-- A vacuum that finds the queue empty has the planner take it for empty until the next. Each search is one row for it then, and the
-- index of least height the cheapest, or any of the same, by whatever column it can be searched: an event's deliveries were searched
-- by their tenant alone, and so was a delivery in the index of events, which shares entries and so has less height than the key at
-- times. Beside an old snapshot that is a walk over all that the tenant has had in the queue since. No two of these can serve one
-- search. No tenant's ID has a slash.
DROP INDEX open_deliveries_by_event, open_deliveries_by_subscription;
CREATE INDEX open_deliveries_by_event ON open_deliveries ((tenant_id || '/' || event_id));
CREATE INDEX open_deliveries_by_subscription ON open_deliveries ((tenant_id || '/' || subscription_id || '/' || delivery_id));
