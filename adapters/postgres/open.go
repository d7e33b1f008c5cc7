package postgres

import "slices"

// openOfEvent is what is open of a tenant's event. OFFSET 0 keeps what else is asked for out of the search: a planner that takes
// the queue for empty would rather search by that.
func openOfEvent(tenant, event string) string {
	return `(SELECT * FROM open_deliveries WHERE tenant_id || '/' || event_id = ` + tenant + `::text || '/' || ` + event + `::text OFFSET 0) AS d`
}

// inLane is the key of what is open of a subscription, in the order of the deliveries.
const inLane = `tenant_id || '/' || subscription_id || '/' || delivery_id`

// openOfLane is the condition for what is open of a tenant's subscription behind one delivery and up to another.
func openOfLane(tenant, subscription, after, upTo string) string {
	lane := tenant + `::text || '/' || ` + subscription + `::text || '/' || `
	return inLane + ` > ` + lane + after + ` AND ` + inLane + ` <= ` + lane + upTo
}

// openPage is how a page of deliveries is looked for among those that are open: by the event or else the subscription,
// if one is named, which is the parameter then, and by the tenant, $2, else.
type openPage struct {
	event, subscription string
	named               string
	after, upTo         string
}

// of is where to look, by what conditions, of which the first was the tenant, and in which order.
func (p openPage) of(conditions []string) (from string, by []string, order string) {
	by = slices.Clone(conditions)
	switch {
	case p.event != "":
		return openOfEvent("$2", p.named), by, "delivery_id"
	case p.subscription != "":
		by[0] = openOfLane("$2", p.named, p.after, p.upTo)
		return "open_deliveries", by, inLane
	default:
		return "open_deliveries", by, "delivery_id"
	}
}
