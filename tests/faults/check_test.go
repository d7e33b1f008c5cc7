package faults_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// The invariants that every scenario is held to, by their names in the table.
//
//	I1  each acknowledged event reaches a terminal state for each matching subscription
//	I2  nothing is sent that the log does not know
//	I3  a stale lease never writes
//	I4  duplicates, and attempts whose end nobody knows, only where a fault overlapped the attempt; with the same ids and bytes
//	I5  attempts happen at or after their due time
//	I6  other endpoints' latency holds
//	I7  memory, disk, goroutines and connections stay bounded
//	I8  what the API shows is the fold of the log, and the metrics count the same attempts
//	I9  nothing crosses tenants
//	I10 dispositions sum up, and the reconciliation has the same

// delivery is one as the API shows it.
type delivery struct {
	ID, EventID, SubscriptionID, Status string
	AttemptCount                        int
	Attempts                            []attempt
}

type attempt struct {
	Number     int
	StartedAt  time.Time
	DurationMs float64
	Outcome    string
}

type disposition struct {
	SubscriptionID, Outcome, Reason string
	DeliveryID, Status              *string
}

// findings is what a check has seen, besides what it found wrong.
type findings struct {
	events, deliveries, arrivals int
	duplicates                   int // arrivals beyond the first that was answered with success
	abandoned                    int // attempts whose end nobody knows, each overlapped by a fault
	expired                      int // those of them whose lease ran out
	lost                         int
	tallies                      map[string]*tally // of each tenant
}

func (f findings) String() string {
	return fmt.Sprintf("%d events, %d deliveries, %d arrivals, %d duplicates, %d attempts overlapped by a fault, %d lost",
		f.events, f.deliveries, f.arrivals, f.duplicates, f.abandoned, f.lost)
}

var terminal = map[string]bool{"succeeded": true, "dead_letter": true, "cancelled": true}

// settle waits until everything that was accepted is terminal.
func (s *site) settle() {
	s.Helper()
	s.settleThese(s.events())
}

func (s *site) settleThese(left []accepted) {
	s.Helper()
	var waiting accepted
	var last []disposition
	err := poll(2*patience, func() bool {
		for len(left) > 0 {
			waiting = left[len(left)-1]
			if last = s.dispositions(waiting); !settled(last) {
				return false
			}
			left = left[:len(left)-1]
		}
		return true
	})
	if err != nil {
		s.Fatalf("%d events are not settled %v: %s has %+v", len(left), err, waiting.id, last)
	}
}

func settled(all []disposition) bool {
	for _, d := range all {
		if d.Outcome == "delivery" && !terminal[*d.Status] {
			return false
		}
	}
	return len(all) > 0
}

func (s *site) dispositions(e accepted) []disposition {
	s.Helper()
	var shown struct{ Dispositions []disposition }
	s.get(e.tenant, "/v1/events/"+e.id, &shown)
	return shown.Dispositions
}

// check holds the site to the invariants, once it has settled.
func (s *site) check() findings {
	s.Helper()
	s.settle()
	f := findings{tallies: map[string]*tally{}}
	arrived := map[string][]arrival{}
	for _, a := range s.receiver.all() {
		arrived[a.delivery] = append(arrived[a.delivery], a)
		f.arrivals++
	}
	var mu sync.Mutex
	var checkers sync.WaitGroup
	work := make(chan accepted)
	for range 4 {
		checkers.Go(func() {
			for e := range work {
				s.checkEvent(e, arrived, &f, &mu)
			}
		})
	}
	all := s.events()
	for _, e := range all {
		work <- e
	}
	close(work)
	checkers.Wait()
	f.events = len(all)
	for id, list := range arrived {
		s.Errorf("I2: %s came %d times at %s, and is no delivery of an acknowledged event", id, len(list), list[0].path)
	}
	if f.lost > 0 {
		s.Errorf("I1: %d lost", f.lost)
	}
	s.checkBounds()
	s.checkSums(f)
	return f
}

// checkEvent takes the event's arrivals out of arrived.
func (s *site) checkEvent(e accepted, arrived map[string][]arrival, f *findings, mu *sync.Mutex) {
	dispositions := s.dispositions(e)
	want := 0
	for _, sub := range s.subs {
		if sub.tenant != e.tenant {
			continue
		}
		want++
		var mine []disposition
		for _, d := range dispositions {
			if d.SubscriptionID == sub.ID {
				mine = append(mine, d)
			}
		}
		if len(mine) != 1 || (mine[0].Outcome == "delivery") != sub.wants {
			s.Errorf("I10: %s has for %s the dispositions %+v", e.id, sub.path, mine)
			continue
		}
		if !sub.wants {
			continue
		}
		var d delivery
		s.get(e.tenant, "/v1/deliveries/"+*mine[0].DeliveryID, &d)
		mu.Lock()
		got := arrived[d.ID]
		delete(arrived, d.ID)
		f.deliveries++
		if len(got) == 0 {
			f.lost++
		}
		f.of(e.tenant).count(d)
		s.checkKnown(d, got, f)
		mu.Unlock()
		s.checkDelivery(e, sub, d, got)
	}
	if len(dispositions) != want {
		s.Errorf("I10: %s has %d dispositions for %d subscriptions", e.id, len(dispositions), want)
	}
}

// unknown is how an attempt ended of which nobody here knows whether the receiver took it.
var unknown = map[string]bool{"lease_expired": true, "timeout": true, "connection_refused": true}

// checkKnown holds a delivery to having attempts whose end nobody knows, and duplicates because of them, only where a fault was.
func (s *site) checkKnown(d delivery, got []arrival, f *findings) {
	taken, lost, all := 0, 0, s.troubled()
	for _, a := range got {
		if a.status < 300 {
			taken++
		}
	}
	for i, a := range d.Attempts {
		if !unknown[a.Outcome] {
			continue
		}
		lost++
		if !excused(all, d, i, got) {
			s.Errorf("I4: attempt %d of %s came to %s, and no fault overlapped it: %+v", a.Number, d.ID, a.Outcome, d.Attempts)
		}
		if a.Outcome == "lease_expired" {
			f.expired++
		}
	}
	if taken-1 > lost {
		s.Errorf("I4: %s was taken %d times, and a fault overlapped %d of its attempts: %+v", d.ID, taken, lost, d.Attempts)
	}
	f.abandoned += lost
	f.duplicates += max(0, taken-1)
}

// checkDelivery holds one delivery and its arrivals to the invariants.
func (s *site) checkDelivery(e accepted, sub subscription, d delivery, got []arrival) {
	if d.EventID != e.id || d.SubscriptionID != sub.ID {
		s.Errorf("I8: %s is shown as %s of %s", d.ID, d.SubscriptionID, d.EventID)
	}
	if len(got) > len(d.Attempts) {
		s.Errorf("I2: %s came %d times, and %d attempts are known: %+v", d.ID, len(got), len(d.Attempts), d.Attempts)
	}
	for i, a := range d.Attempts {
		last := i == len(d.Attempts)-1
		if a.Number != i+1 || (a.Outcome == "succeeded") && !last {
			s.Errorf("I3: attempt %d of %s is number %d, %s", i+1, d.ID, a.Number, a.Outcome)
		}
		if last && (a.Outcome == "succeeded") != (d.Status == "succeeded") {
			s.Errorf("I8: %s is %s, and its last attempt %s", d.ID, d.Status, a.Outcome)
		}
	}
	if !s.clockMoves {
		s.checkDue(d)
	}
	if d.AttemptCount != len(d.Attempts) || !terminal[d.Status] {
		s.Errorf("I8: %s is %s with %d attempts, %d in its stream", d.ID, d.Status, d.AttemptCount, len(d.Attempts))
	}
	for _, a := range got {
		s.checkArrival(e, sub, a, got[0])
	}
}

// checkDue holds each attempt to the time of this run, and to that at which the retry schedule allows it: from the end of the one before
// it on, since jitter and Retry-After make it later only. Nothing here asks for an attempt before that. settle holds all to beginning in
// the end.
func (s *site) checkDue(d delivery) {
	failures, abandonments, due, now := 0, 0, time.Time{}, time.Now()
	for _, a := range d.Attempts {
		if a.StartedAt.Before(s.opened.Add(-sameTime)) || a.StartedAt.After(now.Add(sameTime)) {
			s.Errorf("I5: attempt %d of %s is said to have begun at %s, and it is %s, in a run from %s on", a.Number, d.ID, a.StartedAt, now, s.opened)
		}
		if early := due.Sub(a.StartedAt); early > rounded {
			s.Errorf("I5: attempt %d of %s began %s before it was due: %+v", a.Number, d.ID, early, d.Attempts)
		}
		due = a.StartedAt.Add(time.Duration(a.DurationMs * float64(time.Millisecond)))
		switch {
		case a.Outcome != "lease_expired":
			due = due.Add(retries[min(failures, len(retries)-1)])
			failures, abandonments = failures+1, 0
		case abandonments > 0: // the first one is due again at once
			due = due.Add(retries[min(abandonments-1, len(retries)-1)])
			abandonments++
		default:
			abandonments++
		}
	}
}

// sameTime is how far the database's clock may be from this one: a server's is followed when it is off by a tenth of a second.
const sameTime = time.Second

// rounded is what times lose on their way through the API and the database.
const rounded = time.Millisecond

func (s *site) checkArrival(e accepted, sub subscription, a, first arrival) {
	var body struct {
		EventID, TenantID string
		Customer          struct{ ExternalID, CustomerNumber, Name string }
		VisitReport       struct{ Title string }
	}
	err, own := json.Unmarshal(a.text, &body), mark(sub.tenant)
	if err != nil || a.path != sub.path || body.TenantID != sub.tenant {
		s.Errorf("I9: %s of %s came to %s, with a body of %s (%v)", a.delivery, sub.path, a.path, body.TenantID, err)
	}
	if c := body.Customer; c.ExternalID != own || c.CustomerNumber != own || c.Name != own || body.VisitReport.Title != own {
		s.Errorf("I9: %s of %s has what is not its tenant's: %s", a.delivery, sub.path, a.text)
	}
	if a.event != e.id || body.EventID != e.id || a.body != first.body {
		s.Errorf("I4: %s came as %s of %s, and with other bytes: %t", a.delivery, a.event, e.id, a.body != first.body)
	}
	mac := hmac.New(sha256.New, []byte(sub.Secret))
	mac.Write(a.text)
	if want := "sha256=" + hex.EncodeToString(mac.Sum(nil)); a.header.Get("X-Ordinavo-Signature") != want {
		s.Errorf("I4: the signature of %s is wrong", a.delivery)
	}
}
