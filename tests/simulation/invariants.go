package simulation

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/tests/simulation/memory"
)

// checkEvery is how many steps are between two looks at the whole store.
const checkEvery = 256

// maxDeliveries is more than any run comes to: what makes deliveries without end would keep a run from its last step.
const maxDeliveries = 4_000

// checkStore is what must be true at any time.
func (w *world) checkStore() {
	rows := w.store.Rows()
	if len(rows) > maxDeliveries {
		w.violate("I7", "there are %d deliveries, and they do not end", len(rows))
		return
	}
	for _, row := range rows {
		w.checkFold(context.Background(), row)
	}
	for _, s := range w.store.States() {
		folded, err := w.store.LoadSubscription(context.Background(), laneOf(s))
		if err != nil || !reflect.DeepEqual(folded, s) {
			w.violate("I8", "subscription %s is not the fold of its stream (%v)", s.ID, err)
		}
	}
	w.checkJobs()
	w.checkHours(false)
	for _, p := range w.processes {
		if out := p.dispatcher.InFlight(); !p.dead && (out < 0 || out > w.maxInFlight) {
			w.violate("I7", "%s has %d deliveries out, of at most %d", p.name, out, w.maxInFlight)
		}
	}
}

// checkFold is I8 for a delivery.
func (w *world) checkFold(ctx context.Context, row memory.Row) {
	changes, err := w.store.DeliveryChanges(ctx, row.Tenant, row.ID)
	if err != nil {
		w.violate("I8", "read the stream of %s: %v", row.ID, err)
	}
	folded, err := delivery.Fold(changes)
	if err != nil || !reflect.DeepEqual(folded, row.Delivery) {
		w.violate("I8", "delivery %s is not the fold of its stream (%v):\n row %+v\nfold %+v", row.ID, err, row.Delivery, folded)
	}
	if row.Closed != row.Status.IsTerminal() {
		w.violate("I8", "delivery %s is %s, and closed: %t", row.ID, row.Status, row.Closed)
	}
}

// atRest reports whether nothing is going to happen any more but the beating of hearts.
func (w *world) atRest() bool {
	for _, p := range w.processes {
		if p.dead || p.stopping || p.out > 0 {
			return false
		}
	}
	if w.busy > 0 || !w.isDone() || len(w.store.SetAside()) > 0 || slices.ContainsFunc(w.activities, func(a *activity) bool { return strings.HasSuffix(a.name, "late commit") }) {
		w.restingSince = time.Time{}
		return false
	}
	if w.restingSince.IsZero() {
		w.restingSince = w.now
	}
	// An outcome may wait to be written that is stale by now, and keeps its slot until then.
	return w.now.Sub(w.restingSince) > 30*time.Second || !slices.ContainsFunc(w.processes, func(p *process) bool { return p.dispatcher.InFlight() > 0 })
}

// restless says what keeps the world from coming to rest.
func (w *world) restless() string {
	var open []string
	for _, row := range w.store.Rows() {
		if !row.Closed && (row.Status != delivery.StatusParked || row.Lease != "") {
			open = append(open, fmt.Sprintf("%s %s due %s held by %q", row.ID, row.Status, row.DueAt.Format(time.TimeOnly), row.Lease))
		}
	}
	return fmt.Sprintf("%d users busy, %d records not fanned out, %d events set aside, %d sweeps, open: %s",
		w.busy, w.store.Unhandled(), len(w.store.SetAside()), w.store.Sweeping(), strings.Join(open, "; "))
}

// checkAll is what must be true in the end.
func (w *world) checkAll() {
	w.checkStore()
	rows := w.store.Rows()
	w.counts.Deliveries = len(rows)
	for _, row := range rows {
		w.checkWay(context.Background(), row)
	}
	w.checkDuplicates()
	w.checkDisabled()
	w.checkEvents()
	for _, p := range w.processes {
		if out := p.dispatcher.InFlight(); out != 0 {
			w.violate("I7", "%s counts %d deliveries as out when none is", p.name, out)
		}
	}
	w.checkPoison()
	w.checkWork()
	w.checkCounts()
	w.checkNotices()
	w.checkAnnounced()
	w.checkPulled()
	w.checkTold()
	w.checkOrders()
	w.checkEdits()
	w.checkQuota()
	w.countChanges()
	w.countPurged()
}

// checkWay is what must be true of a delivery in the end, or before it is deleted.
func (w *world) checkWay(ctx context.Context, row memory.Row) {
	w.checkRow(ctx, row)
	w.checkEnds(row)
	w.checkKept(ctx, row)
	w.checkAttempts(row)
}

// checkRow is I1 for a delivery: it is closed, or waits for a reason that can be read.
func (w *world) checkRow(ctx context.Context, row memory.Row) {
	states, err := w.store.LaneStates(ctx, []dispatch.Lane{laneOfRow(row)})
	must(err)
	state, found := states[laneOfRow(row)]
	if !found {
		w.violate("I1", "%s belongs to no subscription", row.ID)
	}
	if !row.Closed && (row.Status != delivery.StatusParked || state.Status != subscription.StatusPaused && state.Status != subscription.StatusDisabled) {
		w.violate("I1", "%s stays %s though its subscription is %s", row.ID, row.Status, state.Status)
	}
}

// checkAttempts is I3: between the lease of an attempt and its record nothing came, so that who recorded it
// held it. Each attempt is recorded once, and is the delivery's.
func (w *world) checkAttempts(row memory.Row) {
	for i, placed := range w.store.DeliveryStream(row.Tenant, row.ID) {
		if c, is := placed.Change.(delivery.AttemptAbandoned); is {
			w.checkAbandoned(row, int64(i), c.At)
			continue
		}
		attempt, is := delivery.AttemptOf(placed.Change)
		if !is {
			continue
		}
		sent, known := w.journal.bySpan[attempt.TraceID]
		at := lease{row.ID, int64(i)}
		before, twice := w.journal.recorded[attempt.TraceID]
		switch {
		case !known:
			w.violate("I2", "%s records attempt %d, which was never made", row.ID, attempt.Number)
		case sent.delivery != row.ID || twice && before != at:
			w.violate("I3", "%s records an attempt of %s, or one twice", row.ID, sent.delivery)
		case sent.version != int64(i):
			w.violate("I3", "%s: an attempt that was leased at version %d was recorded behind version %d", row.ID, sent.version, i)
		case sent.outcome.Kind != attempt.Kind || sent.outcome.Status != attempt.Status || sent.outcome.RetryAfter != attempt.RetryAfter:
			w.violate("I3", "%s: an attempt that ended as %s was recorded as %s (%+v)", row.ID, sent.outcome.Kind, attempt.Kind, attempt)
		}
		w.journal.recorded[attempt.TraceID] = at
	}
}

// checkAbandoned holds a process that was stopped in good order to giving back what it had not begun: nobody has
// to take that over.
func (w *world) checkAbandoned(row memory.Row, version int64, at time.Time) {
	if w.clocks {
		at = w.now // by a clock that was wrong it may be anything
	}
	held, known := w.journal.leased[lease{row.ID, version}]
	begun := slices.ContainsFunc(w.journal.byDelivery[row.ID], func(s *send) bool { return s.version == version })
	if known && !begun && !w.faults.disturbedBy(held.process, held.at.Add(-disturbed), at, func(kind fault) bool { return kind != stopped }) {
		w.violate("I4", "%s was taken over from %s, which had not begun it and should have given it back", row.ID, held.process.name)
	}
}

// disturbed is for how long before and after an attempt a fault may be why it was not recorded.
const disturbed = 20 * time.Second

// checkDuplicates is I4: an attempt that the log does not tell of, and that was therefore made again,
// was disturbed by a fault.
func (w *world) checkDuplicates() {
	for _, s := range w.journal.sends {
		if _, recorded := w.journal.recorded[s.span]; recorded {
			continue
		}
		w.counts.Unrecorded++
		if !w.faults.between(s.process, s.began.Add(-disturbed), later(s.began, s.ended).Add(disturbed)) {
			w.violate("I4", "attempt %s of %s was made at %s and not recorded, though nothing had failed", s.span, s.delivery, s.began.Sub(epoch))
		}
	}
}

// checkEvents is I1 and I10: each acknowledged event has exactly one disposition for each subscription that
// its tenant had, and it is the right one.
func (w *world) checkEvents() {
	for _, key := range w.journal.told {
		_, purged := w.journal.purged.events[key]
		if _, err := w.store.Event(context.Background(), key.Tenant, key.ID); err != nil && !purged {
			w.violate("I1", "acknowledged event %s is lost: %v", key.ID, err)
		}
	}
	for _, e := range w.store.Accepted() {
		w.checkEvent(e)
	}
	w.checkHours(true)
}

// checkHours is I10: at any time each hour's events are the sum of their dispositions and of what waits, which is nothing in the end.
func (w *world) checkHours(end bool) {
	for _, owner := range tenants {
		hours, err := w.store.Hours(context.Background(), owner, time.Time{}, w.now.Add(24*time.Hour))
		must(err)
		for _, h := range hours {
			if !h.Balanced() && !w.purges || h.Waiting > 0 && end {
				w.violate("I10", "%s does not balance at %s: %s, and %d wait", owner, h.Begins, h.Missing(), h.Waiting)
			}
		}
	}
}

func (w *world) checkEvent(e intake.Accepted) {
	ctx := context.Background()
	query := queries.Events{Reader: w.store, Now: func() time.Time { return w.now }}
	detail, err := query.Detail(ctx, e.TenantID, e.ID)
	if err != nil {
		w.violate("I10", "read the dispositions of %s: %v", e.ID, err)
		return
	}
	governed, _, err := w.store.SubscriptionsAt(ctx, []tenant.ID{e.TenantID}, detail.Position)
	must(err)
	for _, s := range governed {
		var mine []queries.Disposition
		for _, d := range detail.Dispositions {
			if d.SubscriptionID == s.ID {
				mine = append(mine, d)
			}
		}
		matches := s.EventTypes.Matches(e.Type)
		switch {
		case len(mine) != 1:
			w.violate("I10", "%s has %d dispositions for %s", e.ID, len(mine), s.ID)
		case matches == (mine[0].Outcome == queries.OutcomeNotMatched):
			w.violate("I1", "%s is %s for %s, whose filter is %v", e.ID, mine[0].Outcome, s.ID, s.EventTypes)
		}
	}
	if len(detail.Dispositions) != len(governed) {
		w.violate("I10", "%s has %d dispositions for %d subscriptions", e.ID, len(detail.Dispositions), len(governed))
	}
	for _, d := range detail.Replays {
		if _, asked := w.journal.rendered[d.DeliveryID]; !asked {
			w.violate("I10", "%s was delivered to %s once more as %s, which no replay did", e.ID, d.SubscriptionID, d.DeliveryID)
		}
	}
	for _, d := range detail.Dispositions {
		if d.Outcome == queries.OutcomeFeatureGated {
			w.counts.Gated++
		}
		if d.Outcome == queries.OutcomeFeatureGated && !strings.HasPrefix(string(e.Type), "billing.") {
			w.violate("I10", "%s (%s) was gated", e.ID, e.Type)
		}
	}
}

func laneOfRow(row memory.Row) dispatch.Lane {
	return dispatch.Lane{Tenant: row.Tenant, SubscriptionID: row.SubscriptionID}
}
