package faults_test

import "maps"

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
	Hours []struct {
		Waiting, Expected int
		Missing           *string
	}
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
		s.checkReconciliation(tenant, events, events*others, want.statuses)
		s.checkMetrics(tenant, events*wanting, want.outcomes)
	}
}

func (s *site) checkReconciliation(tenant string, events, notMatched int, deliveries map[string]int) {
	s.Helper()
	var got reconciled
	s.get(tenant, "/v1/reconciliation", &got)
	expected := 0
	for _, h := range got.Hours {
		expected += h.Expected
		if h.Waiting > 0 || h.Missing != nil {
			got.Balanced = false
		}
	}
	d, all := got.Dispositions, notMatched
	for _, n := range deliveries {
		all += n
	}
	if !got.Balanced || got.Accepted != events || expected != all || d.NotMatched != notMatched || d.FeatureGated+d.SetAside > 0 || !maps.Equal(d.Deliveries, deliveries) {
		s.Errorf("I10: %s had %d events, %d of them not matched, with deliveries %v, and this is counted: %+v", tenant, events, notMatched, deliveries, got)
	}
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
