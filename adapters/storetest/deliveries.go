package storetest

import (
	"slices"
	"strconv"

	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

var deliveryChecks = []Check{
	{"deliveries/every filter, alone and with others", filterDeliveries},
	{"deliveries/pages are stable while rows are added and moved", pageDeliveries},
	{"deliveries/of an event", func(w *world) {
		d := w.schedule(w.subscribe(acme, nil), at(0), "")
		list, err := w.Deliveries(w.ctx, queries.DeliveryFilter{Tenant: acme, EventID: d.EventID, Limit: 10})
		w.ok(err, "list the deliveries of an event")
		equal(w, "the deliveries", list, []delivery.Delivery{d})
	}},
	{"deliveries/what is not there", func(w *world) {
		_, err := w.Delivery(w.ctx, acme, "dlv_nowhere")
		w.refused(err, problem.NotFound, "read a delivery that is not there")
		changes, err := w.DeliveryChanges(w.ctx, acme, "dlv_nowhere")
		w.ok(err, "read its stream")
		equal(w, "its changes", len(changes), 0)
		if _, err := w.Body(w.ctx, delivery.Delivery{Tenant: acme, EventID: "evt_nowhere", BodyNumber: 1}); err == nil {
			w.Errorf("a body that is not there was read")
		}
	}},
}

// everyStatus makes a few deliveries in each status, of two subscriptions and types, one per second.
func everyStatus(w *world) []delivery.Delivery {
	a, b := w.subscribe(acme, nil), w.subscribe(acme, nil)
	w.schedule(w.subscribe(other, nil), at(3), "")
	var all []delivery.Delivery
	for i := range 28 {
		s, kind := a, event.VisitReportApproved
		if i%2 == 1 {
			s = b
		}
		if i%3 == 1 {
			kind = event.TargetImported
		}
		all = append(all, w.inStatus(s, kind, delivery.Statuses()[i%7], float64(i)))
	}
	return all
}

// inStatus brings a new delivery into the status by commands and returns it as it must be read.
func (w *world) inStatus(s subscription.Subscription, kind event.Type, status delivery.Status, second float64) delivery.Delivery {
	w.Helper()
	now := at(second)
	if status == delivery.StatusDelivering {
		d := w.scheduleType(s, kind, now, "inc_1")
		d.Status = status
		return d
	}
	d := w.scheduleType(s, kind, now, "")
	switch status {
	case delivery.StatusRetrying:
		return w.saved(w.moved(d, "", recorded(failure(now, 503), now)))
	case delivery.StatusParked:
		return w.saved(w.moved(d, "", func(d delivery.Delivery) ([]delivery.Change, error) { return d.Park("paused", now) }))
	case delivery.StatusSucceeded:
		return w.saved(w.moved(d, "", recorded(success(now), now)))
	case delivery.StatusDeadLetter:
		return w.saved(w.moved(d, "", recorded(failure(now, 410), now)))
	case delivery.StatusCancelled:
		return w.saved(w.moved(d, "", func(d delivery.Delivery) ([]delivery.Change, error) { return d.Cancel("deleted", now) }))
	default:
		return d
	}
}

// picks is what a filter means.
func picks(f queries.DeliveryFilter, d delivery.Delivery) bool {
	return d.Tenant == f.Tenant && (f.Status == "" || d.Status == f.Status) && (f.SubscriptionID == "" || d.SubscriptionID == f.SubscriptionID) &&
		(f.EventID == "" || d.EventID == f.EventID) && (f.EventType == "" || d.EventType == f.EventType) &&
		(f.Since.IsZero() || !d.CreatedAt.Before(f.Since)) && (f.Until.IsZero() || d.CreatedAt.Before(f.Until)) &&
		(f.Before == "" || d.ID < f.Before)
}

func filterDeliveries(w *world) {
	all := everyStatus(w)
	for i, f := range everyFilter(all) {
		var want []delivery.Delivery
		for _, d := range slices.Backward(all) {
			if picks(f, d) && len(want) < f.Limit {
				want = append(want, d)
			}
		}
		got, err := w.Deliveries(w.ctx, f)
		w.ok(err, "list deliveries")
		equal(w, "filter "+strconv.Itoa(i), got, want)
	}
}

// everyFilter is each condition with each other.
func everyFilter(all []delivery.Delivery) (filters []queries.DeliveryFilter) {
	for _, status := range append([]delivery.Status{""}, delivery.Statuses()...) {
		for bits := range 1 << 8 {
			set := func(i int) bool { return bits>>i&1 == 1 }
			f := queries.DeliveryFilter{Tenant: acme, Status: status, Limit: 100}
			if set(0) {
				f.SubscriptionID = all[4].SubscriptionID
			}
			if set(1) {
				f.EventType = event.TargetImported
			}
			if set(2) {
				f.Since = at(5)
			}
			if set(3) {
				f.Until = at(22)
			}
			if set(4) {
				f.Before = all[20].ID
			}
			if set(7) {
				f.Before = all[16].ID // which is open, and of that subscription
			}
			if set(5) {
				f.Limit = 2
			}
			if set(6) {
				f.EventID = all[10].EventID
			}
			filters = append(filters, f)
		}
	}
	// Microseconds are kept; a finer bound lies between two of them.
	return append(filters, queries.DeliveryFilter{Tenant: acme, Since: at(5).Add(1), Limit: 100}, queries.DeliveryFilter{Tenant: acme, Until: at(22).Add(1), Limit: 100})
}

func pageDeliveries(w *world) {
	all := everyStatus(w)
	want := idsOfDeliveries(all)
	slices.Reverse(want)
	s := w.subscribe(acme, nil)
	var got []string
	f := queries.DeliveryFilter{Tenant: acme, Limit: 5}
	for range 100 {
		page, err := w.Deliveries(w.ctx, f)
		w.ok(err, "read a page")
		if len(page) == 0 {
			break
		}
		got = append(got, idsOfDeliveries(page)...)
		f.Before = page[len(page)-1].ID
		w.schedule(s, at(100), "") // comes before the first page
		i := slices.IndexFunc(all, func(d delivery.Delivery) bool { return d.Status == delivery.StatusPending })
		if i >= 0 { // the oldest pending one, on a later page, is closed meanwhile
			w.saved(w.moved(all[i], "", recorded(success(at(100)), at(100))))
			all[i].Status = delivery.StatusSucceeded
		}
	}
	equal(w, "deliveries on all pages", got, want)
}
