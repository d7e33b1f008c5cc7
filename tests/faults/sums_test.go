package faults_test

import (
	"maps"
	"time"

	"github.com/ordinavo/webhooks/domain/event"
)

// tally is what a tenant's events came to, by what the API says of each.
type tally struct {
	statuses map[string]int // of deliveries
	outcomes map[string]int // of attempts
}

func (f findings) of(tenant string) *tally {
	if f.tallies[tenant] == nil {
		f.tallies[tenant] = &tally{map[string]int{}, map[string]int{}}
	}
	return f.tallies[tenant]
}

func (t *tally) count(d delivery) {
	t.statuses[d.Status]++
	for _, a := range d.Attempts {
		t.outcomes[a.Outcome]++
	}
}

// reconciled is what the service says became of what it has accepted.
type reconciled struct {
	Balanced     bool
	Accepted     int
	Dispositions struct {
		Deliveries                         map[string]int
		NotMatched, FeatureGated, SetAside int
	}
	Hours []struct{ Waiting, Expected int }
}

// checkSums holds what the service counts to what was accepted here and to what it says of each delivery.
func (s *site) checkSums(f findings) {
	s.Helper()
	accepted, many := map[string]int{}, s.many
	for _, e := range s.events() {
		accepted[e.tenant]++
	}
	if many != nil {
		accepted = many
	}
	for tenant, events := range accepted {
		wanting, others := 0, 0
		for _, sub := range s.subs {
			switch {
			case sub.tenant == tenant && sub.wants:
				wanting++
			case sub.tenant == tenant:
				others++
			}
		}
		want := f.of(tenant)
		if many != nil { // each attempt is not known then, and what there is besides the successful ones
			want = &tally{statuses: map[string]int{"succeeded": events * wanting}}
		}
		s.checkReconciliation(tenant, books{events, wanting + others, events * others, want.statuses})
		s.checkMetrics(tenant, events*wanting, want.outcomes)
	}
}

// books are what a tenant's events come to.
type books struct {
	events, subscriptions, notMatched int
	deliveries                        map[string]int // by status
}

// checkReconciliation waits until the books are those of the service, which accepts events of its own that tell of failures and that no
// subscription here wants.
func (s *site) checkReconciliation(tenant string, want books) {
	s.Helper()
	var got reconciled
	if err := poll(patience/3, func() bool {
		got = s.reconciled(tenant)
		own := 0
		if got.Accepted > want.events {
			own = s.ownEvents(tenant)
		}
		return got.match(want, own)
	}); err != nil {
		s.Errorf("I10: of %s these are the books: %+v, and the service has these: %+v", tenant, want, got)
	}
}

// reconciled asks for each hour by itself, since more than one may have too much to be counted at once. Clocks may have been set by two.
func (s *site) reconciled(tenant string) reconciled {
	s.Helper()
	const hour, off = time.Hour, 2 * time.Hour
	sum := reconciled{Balanced: true}
	sum.Dispositions.Deliveries = map[string]int{}
	var counts struct{ Until time.Time }
	s.get(tenant, "/v1/metrics/deliveries?interval=1h", &counts) // up to the end of the service's own hour: those to come are refused
	for begins := s.opened.UTC().Add(-off).Truncate(hour); begins.Before(counts.Until); begins = begins.Add(hour) {
		var more reconciled
		s.get(tenant, "/v1/reconciliation?since="+begins.Format(time.RFC3339)+"&until="+begins.Add(hour).Format(time.RFC3339), &more)
		sum.Balanced, sum.Accepted, sum.Hours = sum.Balanced && more.Balanced, sum.Accepted+more.Accepted, append(sum.Hours, more.Hours...)
		sum.Dispositions.NotMatched += more.Dispositions.NotMatched
		sum.Dispositions.FeatureGated += more.Dispositions.FeatureGated
		sum.Dispositions.SetAside += more.Dispositions.SetAside
		for status, n := range more.Dispositions.Deliveries {
			sum.Dispositions.Deliveries[status] += n
		}
	}
	return sum
}

func (r reconciled) match(want books, own int) bool {
	expected, waiting := 0, 0
	for _, h := range r.Hours {
		expected, waiting = expected+h.Expected, waiting+h.Waiting
	}
	d := r.Dispositions
	return r.Balanced && waiting == 0 && r.Accepted == want.events+own && expected == r.Accepted*want.subscriptions && d.NotMatched == want.notMatched+own*want.subscriptions &&
		d.FeatureGated+d.SetAside == 0 && maps.Equal(d.Deliveries, want.deliveries)
}

// ownEvents is how many of the tenant's events the service made by itself.
func (s *site) ownEvents(tenant string) (n int) {
	s.Helper()
	for _, kind := range event.OperationalTypes() {
		for cursor, more := "", true; more; more = cursor != "" {
			var page struct {
				Data       []struct{ EventID string }
				NextCursor string
			}
			s.get(tenant, "/v1/events?limit=200&eventType="+string(kind)+"&cursor="+cursor, &page)
			n, cursor = n+len(page.Data), page.NextCursor
		}
	}
	return n
}

// counts is how many attempts at a subscription the service has counted with an outcome.
type counts struct {
	SubscriptionID, Outcome string
	Count                   int
}

func (s *site) metrics(tenant string) []counts {
	s.Helper()
	var got struct{ Data []counts }
	s.get(tenant, "/v1/metrics/deliveries?interval=24h", &got)
	return got.Data
}

// checkMetrics waits until all attempts are counted, which follows within seconds, and then nothing may be counted that is none.
func (s *site) checkMetrics(tenant string, succeeded int, outcomes map[string]int) {
	s.Helper()
	all := map[string]int{}
	err := poll(patience, func() bool {
		clear(all)
		for _, c := range s.metrics(tenant) {
			all[c.Outcome] += c.Count
		}
		if outcomes == nil {
			return all["succeeded"] >= succeeded
		}
		return maps.Equal(all, outcomes)
	})
	if err != nil || outcomes == nil && all["succeeded"] != succeeded {
		s.Errorf("I8: of %s these attempts are counted: %v, and these are known: %d, %v", tenant, all, succeeded, outcomes)
	}
}
