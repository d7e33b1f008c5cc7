package postgres

// openOfEvent selects the open deliveries of a tenant's event. OFFSET 0 keeps further conditions out of the search: a planner that
// believes the queue empty would rather search by those.
func openOfEvent(tenant, event string) string {
	return `(SELECT * FROM open_deliveries WHERE tenant_id || '/' || event_id = ` + tenant + `::text || '/' || ` + event + `::text OFFSET 0) AS d`
}

// closedOfEvent selects the closed deliveries of a tenant's event. A planner that is to sort them by ID, or to find the newest, would rather
// walk all that the tenant or the subscription has, in that order, until it meets them.
func closedOfEvent(tenant, event string) string {
	return `(SELECT * FROM closed_deliveries WHERE tenant_id = ` + tenant + ` AND event_id = ` + event + ` OFFSET 0) AS d`
}

// laneKey is the indexed expression by which a subscription's open deliveries are searched, in ID order. A query that uses it has no
// separate condition on tenant or ID: the key holds both.
const laneKey = `tenant_id || '/' || subscription_id || '/' || delivery_id`

// laneStart is the prefix of a lane's laneKeys.
func laneStart(tenant, subscription string) string {
	return tenant + `::text || '/' || ` + subscription + `::text || '/'`
}
