package postgres

// openOfEvent is what is open of a tenant's event. OFFSET 0 keeps what else is asked for out of the search: a planner that takes
// the queue for empty would rather search by that.
func openOfEvent(tenant, event string) string {
	return `(SELECT * FROM open_deliveries WHERE tenant_id || '/' || event_id = ` + tenant + `::text || '/' || ` + event + `::text OFFSET 0) AS d`
}

// laneKey is by which a subscription's open deliveries are searched, in the order of their IDs. Who searches by it names neither tenant
// nor ID besides: the key has both.
const laneKey = `tenant_id || '/' || subscription_id || '/' || delivery_id`

// laneStart is what laneKey begins with.
func laneStart(tenant, subscription string) string {
	return tenant + `::text || '/' || ` + subscription + `::text || '/'`
}
