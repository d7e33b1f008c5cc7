package simulation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/directory"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var tenants = []tenant.ID{"alpha", "beta", "gamma"}

// marker is a text that is in every directory entry of the tenant and in no other's.
func marker(owner tenant.ID) string { return "of " + string(owner) }

// settleIn makes what is there before anything fails, and begins everything.
func (w *world) settleIn() {
	ctx := context.Background()
	for _, owner := range tenants[:w.tenants] {
		must(w.store.CreateTenant(ctx, access.Tenant{ID: owner, Name: string(owner), Weight: tenant.DefaultWeight, CreatedAt: w.now}))
		must(w.store.SetFeature(ctx, owner, tenant.BillingWebhooks, w.people.IntN(2) == 0, w.now))
		must(w.store.Upsert(ctx, owner, entries(owner, 0)))
	}
	made := 0
	service := &subscriptions.Service{Store: w.store, Gate: everything{}, URLs: anyURL{}, Now: func() time.Time { return w.now }, NewSecret: w.newSecret,
		NewID:           func(prefix string) string { made++; return fmt.Sprintf("%s00000000000000000000%06d", prefix, made) },
		DefaultSchedule: w.schedule}
	for range 1 + w.people.IntN(4) {
		owner := w.anyTenant()
		must(create(ctx, service, owner, w.wanted(owner), subscriptions.Actor{}))
	}
	w.processes = make([]*process, w.settings.processes)
	for slot := range w.processes {
		w.start(slot, 0)
	}
	w.begin(nil, "trouble", w.faults.disturb)
	w.busy = 6
	w.begin(nil, "shop", w.shop)
	w.begin(nil, "emitter", w.emit)
	w.begin(nil, "editor", w.edits("editor"))
	w.begin(nil, "other editor", w.edits("other editor"))
	w.admin = w.begin(nil, "admin", w.administer)
	w.begin(nil, "clerk", w.clerk)
	w.begin(nil, "rebuilds", w.rebuilds)
	w.begin(nil, "keeper", w.rotate)
	if w.pulls {
		w.begin(nil, "puller", w.pull)
	}
	if w.follows {
		w.begin(nil, "follower", w.follow)
		w.begin(nil, "other follower", w.followSome)
	}
	if w.audits {
		w.begin(nil, "auditor", w.audit)
	}
	if w.mended > 0 {
		w.begin(nil, "operator", w.operate)
	}
}

func create(ctx context.Context, service *subscriptions.Service, owner tenant.ID, wanted subscription.Settings, by subscriptions.Actor) error {
	checked, err := service.Check(wanted)
	if err == nil {
		_, _, err = service.Create(ctx, owner, checked, by)
	}
	return err
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// everything has every feature.
type everything struct{}

func (everything) Enabled(context.Context, tenant.ID, tenant.Feature) (bool, error) { return true, nil }

func (w *world) anyTenant() tenant.ID { return tenants[w.people.IntN(w.tenants)] }

var sourceSystems = []string{"sap", "datev"}

// externalID begins with a text that no other source system's has.
func externalID(system, text string) string { return "known to " + system + " as " + text }

func entries(owner tenant.ID, edition int) directory.Batch {
	text := fmt.Sprintf("edition %d %s", edition, marker(owner))
	b := directory.Batch{
		Customers: []payload.Customer{{ID: 12, CustomerNumber: &text, Name: &text}},
		Locations: []payload.Location{{ID: 34, Name: &text, City: &text}},
		Contacts:  []payload.Contact{{ID: 56, DisplayName: &text}},
	}
	for _, system := range sourceSystems {
		b.ExternalIDs = append(b.ExternalIDs, directory.ExternalID{SourceSystem: system, EntityType: payload.KindCustomer, OrdinavoID: 12, ExternalID: externalID(system, text)})
	}
	return b
}

var filters = []subscription.Filter{{"*"}, {"visit_report.*"}, {"target.imported", "billing.*"}, {"visit_report.approved"}, {"appointment.*", "target.*"}, {"*", "ordinavo.*"}}

// wanted is the settings of a new subscription.
func (w *world) wanted(owner tenant.ID) subscription.Settings {
	return subscription.Settings{
		Name: "sub", URL: w.receiverAt(owner), EventTypes: filters[w.people.IntN(len(filters))], SourceSystem: sourceSystems[w.people.IntN(2)],
		Options: w.options(), Timeout: time.Duration(1+w.people.IntN(10)) * time.Second, MaxInFlight: 1 + w.people.IntN(8), RetrySchedule: w.ownSchedule(),
	}
}

func (w *world) options() payload.Options {
	options := payload.DefaultOptions()
	options.ContactDetails, options.SummaryPreview, options.BillingDetails = w.people.IntN(2) == 0, w.people.IntN(2) == 0, w.people.IntN(3) == 0
	return options
}

func (w *world) pause(longest time.Duration) time.Time {
	return w.now.Add(time.Duration(w.people.Int64N(int64(longest))))
}

// anyProcess is one that lives, by the chance of whoever asks; nil when there is none.
func (w *world) anyProcess(of *rand.Rand) *process {
	start := of.IntN(len(w.processes))
	for i := range w.processes {
		if p := w.processes[(start+i)%len(w.processes)]; !p.dead && !p.stopping {
			return p
		}
	}
	return nil
}

// eventIDs is the form of an event's ID, with its number.
const eventIDs = "evt_0000000000000000000%07d"

// emit is a product service: it sends each request again until it is answered, under the same IDs.
func (w *world) emit(a *activity) {
	var sent [][]event.Event
	for range w.events {
		a.sleep(w.pause(5*time.Second), nil)
		if len(sent) > 0 && w.people.IntN(8) == 0 {
			w.deliverRequest(a, sent[w.people.IntN(len(sent))])
			continue
		}
		owner := w.anyTenant()
		var batch []event.Event
		many := 1 + w.people.IntN(3)
		if w.people.IntN(12) == 0 { // an import
			many = 10 + w.people.IntN(20)
		}
		for range many {
			types := event.Types()
			e := event.Sample(types[w.people.IntN(len(types))], owner)
			w.counts.Events++
			e.ID = fmt.Sprintf(eventIDs, w.counts.Events)
			batch = append(batch, e)
		}
		sent = append(sent, batch)
		w.deliverRequest(a, batch)
		if w.people.IntN(3) == 0 { // while the events are on their way
			w.admin.due = w.now
		}
		if w.people.IntN(15) == 0 {
			w.contradict(a, batch[0])
		}
	}
	w.busy--
}

func (w *world) deliverRequest(a *activity, batch []event.Event) {
	for range 12 {
		results, err, answered := w.ask(a, batch)
		if answered && err == nil {
			for i, r := range results {
				w.acknowledge(batch[i], r)
			}
			return
		}
		a.sleep(w.pause(4*time.Second), nil)
	}
}

// ask submits to some process and waits for the answer; false when the connection was lost.
func (w *world) ask(a *activity, batch []event.Event) ([]intake.Result, error, bool) {
	p := w.anyProcess(w.people)
	if p == nil {
		return nil, nil, false
	}
	return w.askBy(a, p, batch)
}

func (w *world) askBy(a *activity, p *process, batch []event.Event) ([]intake.Result, error, bool) {
	s, err := p.intake.Submit(context.Background(), batch, "", nil)
	if err != nil {
		return nil, err, true
	}
	for deadline := w.now.Add(20 * time.Second); w.now.Before(deadline); {
		a.sleep(w.now.Add(5*time.Millisecond), s.Done())
		if p.dead {
			return nil, nil, false
		}
		select {
		case <-s.Done():
			results, err := s.Answer()
			w.checkRefused(batch, err)
			return results, err, true
		default:
		}
	}
	return nil, nil, false
}

// acknowledge notes what a caller was told, which must be true at that moment.
func (w *world) acknowledge(e event.Event, r intake.Result) {
	key := intake.EventKey{Tenant: e.TenantID, ID: r.EventID}
	w.trace.line("acknowledged %s %s (duplicate: %t)", e.ID, e.Type, r.Duplicate)
	_, purged := w.journal.purged.events[key]
	if _, err := w.store.Event(context.Background(), key.Tenant, key.ID); err != nil && !purged {
		w.violate("I1", "%s was acknowledged (duplicate: %t) and is not stored", key.ID, r.Duplicate)
	}
	before := w.journal.acknowledged[key]
	if before && !r.Duplicate && !purged {
		w.violate("I1", "%s was accepted twice", key.ID)
	}
	if !before {
		w.journal.acknowledged[key] = true
		w.journal.told = append(w.journal.told, key)
	}
}

// contradict sends other content under an ID that was acknowledged.
func (w *world) contradict(a *activity, e event.Event) {
	key := intake.EventKey{Tenant: e.TenantID, ID: e.ID}
	if !w.journal.acknowledged[key] {
		return
	}
	title := "another"
	e.Target = &event.Target{ID: 9, Title: &title}
	_, err, answered := w.ask(a, []event.Event{e})
	if _, purged := w.journal.purged.events[key]; answered && err == nil && !purged {
		w.violate("I1", "%s was accepted with other content", e.ID)
	} else if answered && problem.Is(err, problem.IdempotencyConflict) {
		w.trace.line("refused another %s", e.ID)
	}
}

// administer changes subscriptions and what they depend on, by one process or another.
func (w *world) administer(a *activity) {
	for i := range w.changes {
		a.sleep(w.pause(9*time.Second), nil)
		p := w.anyProcess(w.people)
		if p == nil {
			continue
		}
		what, err := w.change(context.Background(), p, i)
		w.trace.line("admin: %s by %s: %v", what, p.name, err)
	}
	for range 20 { // so that nothing stays paused in most runs
		a.sleep(w.pause(5*time.Second), nil)
		if w.people.IntN(4) == 0 || w.resumeOne() {
			break
		}
	}
	w.busy--
}

func (w *world) resumeOne() (none bool) {
	for _, s := range w.store.States() {
		if s.Status == subscription.StatusPaused || s.Status == subscription.StatusDisabled {
			if p := w.anyProcess(w.people); p != nil {
				_, err := p.subs.Resume(context.Background(), laneOf(s), subscriptions.AnyVersion, false, subscriptions.Actor{})
				w.trace.line("admin: resume %s by %s: %v", s.ID, p.name, err)
			}
			return false
		}
	}
	return true
}

func laneOf(s subscription.Subscription) dispatch.Lane {
	return dispatch.Lane{Tenant: s.Tenant, SubscriptionID: s.ID}
}

func (w *world) change(ctx context.Context, p *process, i int) (what string, err error) {
	by := subscriptions.Actor{}
	states := w.store.States()
	s := states[w.people.IntN(len(states))]
	lane := laneOf(s)
	switch w.people.IntN(18) {
	case 0:
		owner := w.anyTenant()
		return "create", create(ctx, p.subs, owner, w.wanted(owner), by)
	case 1, 2, 3:
		_, err = p.subs.Pause(ctx, lane, subscriptions.AnyVersion, "maintenance", by)
		return "pause " + s.ID, err
	case 4, 5, 6:
		_, err = p.subs.Resume(ctx, lane, subscriptions.AnyVersion, w.people.IntN(3) == 0, by)
		return "resume " + s.ID, err
	case 7:
		target := w.receiverAt(s.Tenant)
		_, err = p.subs.Update(ctx, lane, subscriptions.AnyVersion, by, func(to *subscription.Settings) { to.URL = target })
		return "new endpoint of " + s.ID, err
	case 8, 13, 14, 15:
		filter := filters[w.people.IntN(len(filters))]
		_, err = p.subs.Update(ctx, lane, subscriptions.AnyVersion, by, func(to *subscription.Settings) { to.EventTypes = filter })
		return "new filter of " + s.ID, err
	case 9:
		_, _, err = p.subs.RotateSecret(ctx, lane, subscriptions.AnyVersion, overlaps[w.people.IntN(len(overlaps))], by)
		return "rotate " + s.ID, err
	case 10:
		_, err = p.subs.CompleteRotation(ctx, lane, subscriptions.AnyVersion, by)
		return "complete the rotation of " + s.ID, err
	case 11:
		if w.people.IntN(3) > 0 {
			owner := w.anyTenant()
			return "feature of " + string(owner), p.store.SetFeature(ctx, owner, tenant.BillingWebhooks, w.people.IntN(2) == 0, p.now())
		}
		return "delete " + s.ID, p.subs.Delete(ctx, lane, subscriptions.AnyVersion, by)
	case 12:
		owner := w.anyTenant()
		return "directory of " + string(owner), p.store.Upsert(ctx, owner, entries(owner, i+1))
	case 16:
		options, system, most := w.options(), sourceSystems[w.people.IntN(2)], 1+w.people.IntN(8)
		_, err = p.subs.Update(ctx, lane, subscriptions.AnyVersion, by, func(to *subscription.Settings) {
			to.Options, to.SourceSystem, to.MaxInFlight = options, system, most
		})
		return "new options of " + s.ID, err
	default:
		rows := w.store.Rows()
		if len(rows) == 0 {
			return "nothing", nil
		}
		d := rows[w.people.IntN(len(rows))]
		_, err = p.retries.Retry(ctx, d.Tenant, d.ID)
		return "retry " + d.ID, err
	}
}
