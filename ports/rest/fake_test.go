package rest_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/directory"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/subscriptions"
	domain "github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// fake is every outbound interface in memory. It counts what was written.
type fake struct {
	mu            sync.Mutex
	writes        int
	fail          error // what every call answers
	tenants       map[tenant.ID]access.Tenant
	keys          map[access.Hash]domain.Key
	subscriptions map[dispatch.Lane]subscription.Subscription
	recorded      map[dispatch.Lane][]subscriptions.Recorded
	circuits      map[string]circuit.Report
	customers     map[int64]payload.Customer
	locations     map[int64]payload.Location
	contacts      map[int64]payload.Contact
	external      map[string]string
	events        []event.Event
	traceParents  []string
	known         map[string]event.Event
	accepted      []queries.Event
	deliveries    []delivery.Delivery
	changes       map[string][]delivery.Change
	jobs          []job.Job
	log           []live.Record
	answers       map[idempotency.Key]row
	hook          func() // called by the next Accept
	// dies makes Accept end after it has accepted; answered counts answers that were kept.
	dies     bool
	answered int
	late     chan func() error // gets what the next Accept would keep
	// inTx is how many transactions are open, and guarded how many URLs were looked up in one.
	inTx, guarded atomic.Int32
}

type row struct {
	idempotency.Reservation
	sealed []byte
}

func (f *fake) write() error {
	if f.fail == nil {
		f.writes++
	}
	return f.fail
}

func notFound() error { return problem.New(problem.NotFound, "There is no such thing.") }

func (f *fake) InTx(ctx context.Context, fn func(context.Context) error) error {
	outermost := f.inTx.Add(1) == 1
	defer f.inTx.Add(-1)
	err := fn(ctx)
	if f.dies && outermost && err == nil {
		panic("the process dies before anybody is told")
	}
	return err
}

func (f *fake) accept(events []event.Event, traceParent string) ([]intake.Result, error) {
	if hook := f.hook; hook != nil {
		f.hook = nil
		hook()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	missing := problem.Collect("")
	for i, e := range events {
		if _, ok := f.tenants[e.TenantID]; !ok {
			missing.Add(fmt.Sprintf("events[%d].tenantId", i), "names a tenant that does not exist")
		}
	}
	if err := errors.Join(f.fail, missing.Err()); err != nil {
		return nil, err
	}
	var results []intake.Result
	for _, e := range events {
		if e.ID == "" {
			e.ID = nextID("evt_")
		}
		_, duplicate := f.known[e.ID]
		f.known[e.ID] = e
		results = append(results, intake.Result{EventID: e.ID, Duplicate: duplicate})
	}
	f.events, f.traceParents = append(f.events, events...), append(f.traceParents, traceParent)
	return results, f.write()
}

func (f *fake) SubscriptionToChange(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	return f.CurrentSubscription(ctx, lane)
}

func (f *fake) CurrentSubscription(_ context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return subscription.Subscription{}, f.fail
	}
	s, ok := f.subscriptions[lane]
	if !ok {
		return s, notFound()
	}
	return s, nil
}

func (f *fake) AppendSubscription(_ context.Context, _, after subscription.Subscription, changes []subscription.Change, by subscriptions.Actor) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	lane := dispatch.Lane{Tenant: after.Tenant, SubscriptionID: after.ID}
	f.subscriptions[lane] = after
	for _, c := range changes {
		f.recorded[lane] = append(f.recorded[lane], subscriptions.Recorded{Change: c, By: by, At: after.UpdatedAt})
	}
	return f.write()
}

func (f *fake) SubscriptionHistory(_ context.Context, lane dispatch.Lane) ([]subscriptions.Recorded, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.recorded[lane]) == 0 {
		return nil, notFound()
	}
	return f.recorded[lane], f.fail
}

func (f *fake) Circuits(_ context.Context, _ tenant.ID, ids []string, _ time.Time) (map[string]circuit.Report, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := maps.Clone(f.circuits)
	maps.DeleteFunc(found, func(id string, _ circuit.Report) bool { return !slices.Contains(ids, id) })
	return found, f.fail
}

// GatedEvents says that 3 events were kept from version 2 of every subscription.
func (f *fake) GatedEvents(_ context.Context, _ dispatch.Lane, first, last int64) ([]subscriptions.Gated, error) {
	if first > 2 || last < 2 {
		return nil, f.fail
	}
	at := time.Date(2026, 6, 18, 17, 30, 0, 0, time.UTC)
	return []subscriptions.Gated{{Version: 2, Feature: tenant.BillingWebhooks, Events: 3, First: at, Last: at.Add(time.Hour)}}, f.fail
}

func (f *fake) CountSubscriptions(context.Context, tenant.ID) (int, error) { return 0, f.fail }

func (f *fake) SaveSecret(context.Context, dispatch.Lane, string, secret.Secret, time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.write()
}

func (f *fake) ListSubscriptions(_ context.Context, owner tenant.ID, after string, limit int) ([]subscription.Subscription, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []subscription.Subscription
	for lane, s := range f.subscriptions {
		if lane.Tenant == owner && s.Status != subscription.StatusDeleted && (after == "" || s.ID < after) {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b subscription.Subscription) int { return strings.Compare(b.ID, a.ID) })
	return found[:min(limit, len(found))], f.fail
}

func (f *fake) Enabled(_ context.Context, id tenant.ID, feature tenant.Feature) (bool, error) {
	return f.tenants[id].Features[feature], f.fail
}

func (f *fake) CheckURL(raw string) (string, error) {
	if f.inTx.Load() > 0 {
		f.guarded.Add(1)
	}
	if strings.Contains(raw, "@") || !strings.HasPrefix(raw, "https://") || raw == "https://" {
		return "", errors.New("must be https, with a host and without user info")
	}
	return raw, nil
}

func (f *fake) Test(_ context.Context, lane dispatch.Lane, t event.Type, _ subscriptions.Actor) (subscriptions.Exchange, error) {
	return subscriptions.Exchange{DeliveryID: "dlv_test", EventID: "evt_test", URL: "https://a.example/", Body: []byte(`{"eventType":"` + string(t) + `"}`),
		Outcome: &delivery.Outcome{Kind: delivery.KindSucceeded, Status: 204, Duration: 12400 * time.Microsecond, RequestHeaders: map[string]string{"webhook-id": "evt_test"}}}, f.fail
}

func (f *fake) FindTest(_ context.Context, owner tenant.ID, id string) (subscriptions.Exchange, error) {
	if id != "dlv_test" {
		return subscriptions.Exchange{}, problem.New(problem.NotFound, "There is no such test.")
	}
	return subscriptions.Exchange{}, f.fail
}

func (f *fake) Upsert(_ context.Context, _ tenant.ID, b directory.Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range b.Customers {
		f.customers[c.ID] = c
	}
	for _, l := range b.Locations {
		f.locations[l.ID] = l
	}
	for _, c := range b.Contacts {
		f.contacts[c.ID] = c
	}
	for _, x := range b.ExternalIDs {
		f.external[fmt.Sprint(x.SourceSystem, x.EntityType, x.OrdinavoID)] = x.ExternalID
	}
	return f.write()
}

func (f *fake) Record(_ context.Context, _ tenant.ID, ref payload.Ref) (payload.Context, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c, ok := f.customers[ref.ID]; ok && ref.Kind == payload.KindCustomer {
		return payload.Context{Customer: &c}, nil
	}
	if l, ok := f.locations[ref.ID]; ok && ref.Kind == payload.KindLocation {
		return payload.Context{Location: &l}, nil
	}
	if c, ok := f.contacts[ref.ID]; ok && ref.Kind == payload.KindContact {
		return payload.Context{Contact: &c}, nil
	}
	return payload.Context{}, notFound()
}

func (f *fake) DeleteRecord(ctx context.Context, owner tenant.ID, ref payload.Ref) error {
	if _, err := f.Record(ctx, owner, ref); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch ref.Kind {
	case payload.KindCustomer:
		delete(f.customers, ref.ID)
	case payload.KindLocation:
		delete(f.locations, ref.ID)
	default:
		delete(f.contacts, ref.ID)
	}
	return f.write()
}

func (f *fake) ExternalID(_ context.Context, _ tenant.ID, sourceSystem string, ref payload.Ref) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if found, ok := f.external[fmt.Sprint(sourceSystem, ref.Kind, ref.ID)]; ok {
		return found, nil
	}
	return "", notFound()
}

func (f *fake) DeleteExternalID(ctx context.Context, owner tenant.ID, sourceSystem string, ref payload.Ref) error {
	if _, err := f.ExternalID(ctx, owner, sourceSystem, ref); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.external, fmt.Sprint(sourceSystem, ref.Kind, ref.ID))
	return f.write()
}

func (f *fake) CreateTenant(_ context.Context, t access.Tenant) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, taken := f.tenants[t.ID]; taken {
		return problem.New(problem.Conflict, "The id is taken.")
	}
	f.tenants[t.ID] = t
	return f.write()
}

func (f *fake) Tenant(_ context.Context, id tenant.ID) (access.Tenant, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.tenants[id]
	if !ok {
		return t, notFound()
	}
	return t, nil
}

func (f *fake) Tenants(_ context.Context, page access.Page) ([]access.Tenant, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []access.Tenant
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(f.tenants))) {
		if page.After == "" || string(id) < page.After {
			found = append(found, f.tenants[id])
		}
	}
	return found[:min(page.Limit, len(found))], f.fail
}

func (f *fake) ChangeTenant(_ context.Context, id tenant.ID, c access.TenantChange) (access.Tenant, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.tenants[id]
	if !ok {
		return t, notFound()
	}
	if c.Name != nil {
		t.Name = *c.Name
	}
	if c.Weight != nil {
		t.Weight = *c.Weight
	}
	f.tenants[id] = t
	return t, f.write()
}

func (f *fake) SetFeature(_ context.Context, id tenant.ID, feature tenant.Feature, enabled bool, _ time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.tenants[id]; !ok {
		return notFound()
	}
	f.tenants[id].Features[feature] = enabled
	return f.write()
}

func (f *fake) SaveKey(_ context.Context, k domain.Key, hash access.Hash) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.tenants[k.Tenant]; k.Tenant != "" && !ok {
		return notFound()
	}
	f.keys[hash] = k
	return f.write()
}

func (f *fake) KeyByHash(_ context.Context, hash access.Hash) (domain.Key, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k, ok := f.keys[hash]; ok {
		return k, nil
	}
	return domain.Key{}, notFound()
}

func (f *fake) Keys(_ context.Context, owner tenant.ID, page access.Page) ([]domain.Key, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []domain.Key
	for _, k := range f.keys {
		if (owner == "" || k.Tenant == owner) && (page.After == "" || k.ID < page.After) {
			found = append(found, k)
		}
	}
	slices.SortFunc(found, func(a, b domain.Key) int { return strings.Compare(b.ID, a.ID) })
	return found[:min(page.Limit, len(found))], f.fail
}

func (f *fake) RevokeKey(_ context.Context, owner tenant.ID, id string, now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for hash, k := range f.keys {
		if k.ID == id && (owner == "" || k.Tenant == owner) {
			k.RevokedAt = cmp.Or(k.RevokedAt, now)
			f.keys[hash] = k
			return f.write()
		}
	}
	return notFound()
}

func (f *fake) TouchKeys(context.Context, map[string]time.Time) error { return nil }

func (f *fake) AcceptedEvents(_ context.Context, filter queries.EventFilter) ([]queries.Event, error) {
	var found []queries.Event
	for _, e := range slices.Backward(f.accepted) {
		if e.Tenant == filter.Tenant && (filter.Before == 0 || e.Sequence < filter.Before) && (filter.Type == "" || filter.Type == e.Type) &&
			(!filter.SetAside || e.SetAside != nil) && !e.AcceptedAt.Before(filter.Since) && (filter.Until.IsZero() || e.AcceptedAt.Before(filter.Until)) {
			found = append(found, e)
		}
	}
	return found[:min(filter.Limit, len(found))], f.fail
}

func (f *fake) Event(_ context.Context, owner tenant.ID, id string) (queries.Event, error) {
	for _, e := range f.accepted {
		if e.ID == id && e.Tenant == owner {
			return e, nil
		}
	}
	return queries.Event{}, notFound()
}

func (f *fake) HoldEvent(ctx context.Context, owner tenant.ID, id string) (queries.Event, error) {
	return f.Event(ctx, owner, id)
}

func (f *fake) FanOutAgain(_ context.Context, e queries.Event, retried queries.Retried) error {
	for i := range f.accepted {
		if f.accepted[i].ID == e.ID && f.accepted[i].Tenant == e.Tenant {
			f.accepted[i].SetAside, f.accepted[i].Retried = nil, &retried
		}
	}
	return f.write()
}

func (f *fake) DeliveriesOf(ctx context.Context, owner tenant.ID, eventIDs []string, each int) (map[string][]delivery.Delivery, error) {
	of := map[string][]delivery.Delivery{}
	for _, id := range eventIDs {
		of[id], _ = f.Deliveries(ctx, queries.DeliveryFilter{Tenant: owner, EventID: id, Limit: each})
		slices.SortFunc(of[id], func(a, b delivery.Delivery) int { return cmp.Compare(a.ID, b.ID) })
	}
	return of, f.fail
}

func (f *fake) FannedOut(context.Context, queries.Event) (bool, error) { return true, nil }

func (f *fake) GatedOf(context.Context, tenant.ID, string) ([]queries.Gated, error) {
	return []queries.Gated{{SubscriptionID: "sub_gated", Feature: tenant.BillingWebhooks}}, nil
}

func (f *fake) SubscriptionsAt(ctx context.Context, owners []tenant.ID, _ int64) ([]subscription.Subscription, []dispatch.Lane, error) {
	now, err := f.ListSubscriptions(ctx, owners[0], "", 1000)
	return slices.DeleteFunc(now, func(s subscription.Subscription) bool { return s.ID == "sub_later" }), nil, err
}

func (f *fake) Deliveries(_ context.Context, filter queries.DeliveryFilter) ([]delivery.Delivery, error) {
	var found []delivery.Delivery
	for _, d := range slices.Backward(f.deliveries) {
		if d.Tenant == filter.Tenant && (filter.Before == "" || d.ID < filter.Before) && (filter.EventID == "" || d.EventID == filter.EventID) &&
			(filter.SubscriptionID == "" || d.SubscriptionID == filter.SubscriptionID) && (filter.Status == "" || d.Status == filter.Status) {
			found = append(found, d)
		}
	}
	return found[:min(filter.Limit, len(found))], f.fail
}

func (f *fake) Delivery(_ context.Context, owner tenant.ID, id string) (delivery.Delivery, error) {
	for _, d := range f.deliveries {
		if d.ID == id && d.Tenant == owner {
			return d, f.fail
		}
	}
	return delivery.Delivery{}, notFound()
}

func (f *fake) DeliveryChanges(_ context.Context, _ tenant.ID, id string) ([]delivery.Change, error) {
	return f.changes[id], nil
}

func (f *fake) Body(context.Context, delivery.Delivery) ([]byte, error) {
	return []byte(`{"a":1}`), nil
}

func (f *fake) Save(context.Context, []dispatch.Saved) ([]int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return nil, f.write()
}

// Seal turns the bytes around, so that a test sees whether what is stored can be read.
func (f *fake) Seal(plain []byte, _ ...string) ([]byte, error) {
	sealed := slices.Clone(plain)
	slices.Reverse(sealed)
	return sealed, nil
}

func (f *fake) Open(sealed []byte, associated ...string) ([]byte, error) {
	return f.Seal(sealed, associated...)
}

var ids atomic.Int64

func nextID(prefix string) string { return fmt.Sprintf("%s01JZ8A2MT8G7C3Y7V0%08d", prefix, ids.Add(1)) }
