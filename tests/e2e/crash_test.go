package e2e_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What the crash test plays.
const (
	crashEvents  = 1000
	crashBatch   = 10
	crashKills   = 10
	crashWorkers = 4
)

// crashSite is a service that is killed again and again behind its emitters' backs.
type crashSite struct {
	t       *testing.T
	dir     string
	current atomic.Pointer[service]
	random  *rand.Rand
}

// Nothing that was answered with 202 is lost, whenever the process dies; what comes twice is the same delivery with the same bytes.
func TestNothingAcceptedIsLost(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	site := &crashSite{t: t, dir: t.TempDir(), random: rand.New(rand.NewPCG(seed, 1))}
	site.current.Store(start(t, site.dir))
	var retries atomic.Int64
	hook := receive(t, func(n int, _ arrival, w http.ResponseWriter) {
		if n%17 == 0 {
			retries.Add(1)
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	acme := newTenant(t, site.current.Load())
	schedule := make([]string, 20) // a receiver that fails now and then must not end in a dead letter
	for i := range schedule {
		schedule[i] = "1s"
	}
	sub := acme.subscribe(hook, "visit_report.*", object{"retrySchedule": schedule, "maxInFlight": 64})
	never := acme.subscribe(receive(t, nil), "target.imported", nil)
	ids := site.play(acme)
	acme.api = acme.at(site.current.Load())
	eventually(t, "every event arrives", func() bool { return len(byEvent(hook.all())) >= len(ids) })
	for _, id := range ids {
		checkDispositions(acme, id, map[string]string{sub.ID: "delivery succeeded", never.ID: "not_matched"})
	}
	checkArrivals(t, hook.all(), ids, sub.Secret, int(retries.Load()))
}

// checkDispositions wants one disposition for each subscription, settled as it is said.
func checkDispositions(n tenant, id string, want map[string]string) {
	n.t.Helper()
	var all []disposition
	err := poll(patience, func() bool {
		all = n.event(id).Dispositions
		right := 0
		for _, d := range all {
			got := d.Outcome
			if d.Status != nil {
				got += " " + *d.Status
			}
			if got == want[d.SubscriptionID] {
				right++
			}
		}
		return right == len(want) && len(all) == len(want)
	})
	if err != nil {
		n.t.Errorf("%s has the dispositions %v", id, all)
	}
}

// play emits everything while the process is killed ten times, and returns the IDs; all of them were acknowledged.
func (c *crashSite) play(acme tenant) (ids []string) {
	batches := make(chan []object)
	var emitters sync.WaitGroup
	for range crashWorkers {
		emitters.Go(func() {
			for batch := range batches {
				c.emit(acme, batch)
			}
		})
	}
	const perKill = crashEvents / crashBatch / crashKills
	for kill := range crashKills {
		feed := make(chan struct{})
		go func() {
			defer close(feed)
			for range perKill {
				batch, batchIDs := c.batch(acme)
				ids = append(ids, batchIDs...)
				batches <- batch
			}
		}()
		moment := time.NewTimer(time.Duration(c.random.IntN(250)) * time.Millisecond)
		<-moment.C
		c.current.Load().kill()
		c.t.Logf("kill %d", kill+1)
		c.current.Store(start(c.t, c.dir))
		<-feed
	}
	close(batches)
	emitters.Wait()
	return ids
}

func (c *crashSite) batch(acme tenant) (batch []object, ids []string) {
	for range crashBatch {
		id := eventID()
		ids = append(ids, id)
		batch = append(batch, acme.visit("visit_report.approved", object{"eventId": id}))
	}
	return batch, ids
}

// emit sends a batch until it is acknowledged, as a product service does.
func (c *crashSite) emit(acme tenant, batch []object) {
	err := poll(patience, func() bool {
		got, err := acme.at(c.current.Load()).try(context.Background(), http.MethodPost, "/v1/events", object{"events": batch})
		if err == nil && got.status != http.StatusAccepted && got.status != http.StatusServiceUnavailable {
			c.t.Errorf("got %d: %s", got.status, got.body)
		}
		return err == nil && got.status == http.StatusAccepted
	})
	if err != nil {
		c.t.Errorf("a batch was never acknowledged: %v", err)
	}
}

func byEvent(all []arrival) map[string][]arrival {
	grouped := map[string][]arrival{}
	for _, a := range all {
		grouped[a.eventID()] = append(grouped[a.eventID()], a)
	}
	return grouped
}

func checkArrivals(t *testing.T, all []arrival, ids []string, secret string, retries int) {
	t.Helper()
	grouped := byEvent(all)
	lost := 0
	for _, id := range ids {
		got := grouped[id]
		if len(got) == 0 {
			lost++
			continue
		}
		for _, again := range got {
			if again.deliveryID() != got[0].deliveryID() || string(again.body) != string(got[0].body) {
				t.Errorf("%s came as %s and as %s", id, got[0].deliveryID(), again.deliveryID())
			}
			verify(t, again, secret)
		}
		delete(grouped, id)
	}
	for id := range grouped {
		t.Errorf("%s was never emitted", id)
	}
	t.Logf("%d events accepted, lost: %d, duplicates: %d, retries after a 503: %d", len(ids), lost, len(all)-len(ids)+lost-retries, retries)
	if lost > 0 {
		t.Errorf("lost: %d", lost)
	}
}
