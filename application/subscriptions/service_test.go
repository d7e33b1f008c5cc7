package subscriptions_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/adapters/wakeup"
	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// world is the service on a database of its own. What it is given besides is the world itself.
type world struct {
	*testing.T
	*sqlite.Store
	db       *sqlite.DB
	service  *subscriptions.Service
	now      time.Time
	made     int
	billing  bool
	gateErr  error
	requests []dispatch.Request
	onSend   func()
}

type plain struct{}

func (plain) Seal(p []byte, _ ...string) ([]byte, error) { return p, nil }
func (plain) Open(p []byte, _ ...string) ([]byte, error) { return p, nil }

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "subscriptions.db"))
	if err == nil {
		err = db.Migrate()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{T: t, Store: sqlite.NewStore(db, plain{}), db: db, now: start}
	w.service = &subscriptions.Service{
		Store: w.Store, Gate: w, URLs: w, Now: func() time.Time { return w.now },
		NewID:           func(prefix string) string { w.made++; return fmt.Sprintf("%s%026d", prefix, w.made) },
		NewSecret:       func() secret.Secret { w.made++; return secret.FromBytes([32]byte{byte(w.made), byte(w.made >> 8)}) },
		DefaultSchedule: []time.Duration{10 * time.Millisecond, 20 * time.Millisecond},
	}
	w.ok(w.CreateTenant(t.Context(), access.Tenant{ID: "acme", Name: "Acme", Weight: tenant.DefaultWeight, CreatedAt: start}))
	return w
}

func (w *world) Enabled(context.Context, tenant.ID, tenant.Feature) (bool, error) {
	return w.billing, w.gateErr
}

func (w *world) CheckURL(raw string) (string, error) {
	if strings.Contains(raw, "internal") {
		return "", errors.New("names an address that may not be called")
	}
	return strings.ToLower(raw), nil
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// refused wants the problem, about these fields.
func (w *world) refused(err error, code problem.Code, fields ...string) {
	w.Helper()
	var p *problem.Error
	if !errors.As(err, &p) || p.Code != code || !slices.Equal(slices.Sorted(maps.Keys(p.Fields)), fields) {
		w.Errorf("got %v, want %s of %v", err, code, fields)
	}
}

var by = subscriptions.Actor{KeyID: "key_1", KeyName: "ERP", TraceParent: "00-trace"}

func settings() subscription.Settings {
	return subscription.Settings{Name: "SAP", URL: "https://ERP.example.com/hook", EventTypes: subscription.Filter{"visit_report.*"}, SourceSystem: "sap",
		Options: payload.DefaultOptions(), Timeout: 10 * time.Second, MaxInFlight: 16}
}

func (w *world) create(edit func(*subscription.Settings)) subscription.Subscription {
	w.Helper()
	s := settings()
	if edit != nil {
		edit(&s)
	}
	created, _, err := w.created("acme", s, by)
	w.ok(err)
	return created
}

// created is what a request does: it checks, and then creates.
func (w *world) created(owner tenant.ID, s subscription.Settings, by subscriptions.Actor) (subscription.Subscription, secret.Secret, error) {
	checked, err := w.service.Check(s)
	if err != nil {
		return subscription.Subscription{}, secret.Secret{}, err
	}
	return w.service.Create(w.Context(), owner, checked, by)
}

func laneOf(s subscription.Subscription) dispatch.Lane {
	return dispatch.Lane{Tenant: s.Tenant, SubscriptionID: s.ID}
}

// stored is the subscription as the stream has it.
func (w *world) stored(s subscription.Subscription) subscription.Subscription {
	w.Helper()
	got, err := w.service.Get(w.Context(), laneOf(s))
	w.ok(err)
	return got
}

func (w *world) update(s subscription.Subscription, edit func(*subscription.Settings)) (subscription.Subscription, error) {
	return w.service.Update(w.Context(), laneOf(s), subscriptions.AnyVersion, by, edit)
}

func (w *world) sweepOf(s subscription.Subscription) string {
	w.Helper()
	found, ok, err := w.NextSweep(w.Context())
	w.ok(err)
	if !ok || found.Lane != laneOf(s) {
		return ""
	}
	return string(found.Action)
}

func TestCreateShowsTheSecretThatIsKept(t *testing.T) {
	w := newWorld(t)
	created, signing, err := w.created("acme", settings(), by)
	w.ok(err)
	if created.URL != "https://erp.example.com/hook" || created.Version != 1 || created.Status != subscription.StatusActive || !created.CreatedAt.Equal(start) {
		t.Errorf("created %+v", created)
	}
	kept, err := w.OpenSecret(t.Context(), "acme", created.ID, created.Secrets.Current)
	if err != nil || !kept.Equal(signing) || signing.IsZero() {
		t.Errorf("another secret is kept: %v", err)
	}
	if got := w.stored(created); got.Name != "SAP" || got.URL != created.URL || !slices.Equal(got.RetrySchedule, w.service.DefaultSchedule) {
		t.Errorf("stored %+v", got)
	}
}

func TestCreateRefuses(t *testing.T) {
	second := []time.Duration{time.Second}
	for name, c := range map[string]struct {
		edit   func(*subscription.Settings)
		code   problem.Code
		fields []string
	}{
		"a URL that may not be called": {func(s *subscription.Settings) { s.URL = "https://internal" }, problem.ValidationFailed, []string{"url"}},
		"no URL":                       {func(s *subscription.Settings) { s.URL = "" }, problem.ValidationFailed, []string{"url"}},
		"a very long URL":              {func(s *subscription.Settings) { s.URL = "https://internal/" + strings.Repeat("x", 3000) }, problem.ValidationFailed, []string{"url"}},
		"several fields": {func(s *subscription.Settings) { s.URL, s.Name, s.Timeout = "https://internal", "", 0 },
			problem.ValidationFailed, []string{"name", "timeoutSeconds", "url"}},
		"an own schedule below a second": {func(s *subscription.Settings) { s.RetrySchedule = append(second, time.Millisecond) }, problem.ValidationFailed, []string{"retrySchedule[1]"}},
		"an own schedule that is empty":  {func(s *subscription.Settings) { s.RetrySchedule = []time.Duration{} }, problem.ValidationFailed, []string{"retrySchedule"}},
		"billing types":                  {func(s *subscription.Settings) { s.EventTypes = subscription.Filter{"billing.event_ready"} }, problem.FeatureNotEnabled, nil},
		"billing details":                {func(s *subscription.Settings) { s.Options.BillingDetails = true }, problem.FeatureNotEnabled, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := settings()
			c.edit(&s)
			_, signing, err := w.created("acme", s, by)
			w.refused(err, c.code, c.fields...)
			if n, err := w.CountSubscriptions(t.Context(), "acme"); n != 0 || err != nil || !signing.IsZero() {
				t.Errorf("%d subscriptions are there, %v", n, err)
			}
		})
	}
}

func TestTheFeatureGate(t *testing.T) {
	w := newWorld(t)
	billed := func(s *subscription.Settings) { s.EventTypes = subscription.Filter{"billing.*", "visit_report.*"} }
	w.billing = true
	s := w.create(billed)
	w.billing = false
	renamed, err := w.update(s, func(s *subscription.Settings) { s.Name = "still mine" })
	if err != nil || renamed.Name != "still mine" {
		t.Errorf("without the feature it cannot even be renamed: %v", err)
	}
	for i, edit := range []func(*subscription.Settings){
		func(s *subscription.Settings) { s.Options.ContactDetails = false },
		func(s *subscription.Settings) { s.SourceSystem = "crm" },
		func(s *subscription.Settings) { s.EventTypes = subscription.Filter{"target.*", "billing.*"} },
		func(s *subscription.Settings) { s.EventTypes = subscription.Filter{"billing.event_failed"} },
	} {
		if _, err := w.update(s, edit); err != nil {
			t.Errorf("edit %d asks for no more billing and is refused: %v", i, err)
		}
	}
	_, err = w.update(s, func(s *subscription.Settings) { s.Options.BillingDetails = true })
	w.refused(err, problem.FeatureNotEnabled)
	_, err = w.update(s, billed) // all of them, after one was left
	w.refused(err, problem.FeatureNotEnabled)
	_, err = w.update(s, func(s *subscription.Settings) { s.EventTypes = subscription.Filter{"target.*"} })
	w.ok(err)
	_, err = w.update(s, billed)
	w.refused(err, problem.FeatureNotEnabled)
	w.gateErr = errors.New("away")
	if _, err = w.update(s, billed); !errors.Is(err, w.gateErr) {
		t.Errorf("got %v", err)
	}
	w.billing = true // and the error all the same
	if _, _, err = w.created("acme", func() subscription.Settings { s := settings(); billed(&s); return s }(), by); !errors.Is(err, w.gateErr) {
		t.Errorf("got %v", err)
	}
}

// full is a store whose tenant has so many subscriptions.
type full struct {
	*sqlite.Store
	count int
}

func (f full) CountSubscriptions(context.Context, tenant.ID) (int, error) { return f.count, nil }

func TestTheQuota(t *testing.T) {
	w := newWorld(t)
	for quota, highest := range map[int]int{0: subscriptions.MaxPerTenant, 1000: 1000} {
		w.service.Quota = quota
		w.service.Store = full{w.Store, highest - 1}
		_, _, err := w.created("acme", settings(), by)
		w.ok(err)
		w.service.Store = full{w.Store, highest}
		_, _, err = w.created("acme", settings(), by)
		w.refused(err, problem.Forbidden)
	}
}

// An update that was prepared edits the subscription as it is by then: what others have changed since stays.
func TestAnUpdateLosesNoOther(t *testing.T) {
	w := newWorld(t)
	s := w.create(nil)
	update, err := w.service.PrepareUpdate(t.Context(), laneOf(s), subscriptions.AnyVersion, by, func(to *subscription.Settings) { to.Name, to.URL = "ERP", "https://NEW.example.com/hook" })
	w.ok(err)
	_, err = w.update(s, func(to *subscription.Settings) { to.MaxInFlight = 3 })
	w.ok(err)
	_, err = update(t.Context())
	w.ok(err)
	if now := w.stored(s); now.Name != "ERP" || now.URL != "https://new.example.com/hook" || now.MaxInFlight != 3 {
		t.Errorf("got %+v", now.Settings)
	}
}

func TestIfMatch(t *testing.T) {
	w := newWorld(t)
	s := w.create(nil)
	lane := laneOf(s)
	rename := func(name string) func(*subscription.Settings) {
		return func(s *subscription.Settings) { s.Name = name }
	}
	two, err := w.service.Update(t.Context(), lane, 1, by, rename("two"))
	if err != nil || two.Version != 2 {
		t.Fatalf("%+v, %v", two, err)
	}
	_, err = w.service.Update(t.Context(), lane, 1, by, rename("three"))
	w.refused(err, problem.Conflict)
	_, err = w.service.Pause(t.Context(), lane, 1, "", by)
	w.refused(err, problem.Conflict)
	_, err = w.service.Resume(t.Context(), lane, 3, false, by)
	w.refused(err, problem.Conflict)
	w.refused(w.service.Delete(t.Context(), lane, 1, by), problem.Conflict)
	if got := w.stored(s); got.Name != "two" || got.Version != 2 {
		t.Errorf("stored %+v", got)
	}
	if same, err := w.service.Update(t.Context(), lane, 2, by, rename("two")); err != nil || same.Version != 2 {
		t.Errorf("an update that changes nothing: %+v, %v", same, err)
	}
}

func TestTheRetrySchedule(t *testing.T) {
	w := newWorld(t)
	own := []time.Duration{time.Second, time.Minute}
	s := w.create(func(s *subscription.Settings) { s.RetrySchedule = own })
	if !slices.Equal(s.RetrySchedule, own) {
		t.Errorf("created with %v", s.RetrySchedule)
	}
	back, err := w.update(s, func(s *subscription.Settings) { s.RetrySchedule = nil })
	if err != nil || !slices.Equal(back.RetrySchedule, w.service.DefaultSchedule) {
		t.Errorf("nil is %v, %v", back.RetrySchedule, err)
	}
	if kept, err := w.update(s, func(s *subscription.Settings) { s.Name = "another" }); err != nil || !slices.Equal(kept.RetrySchedule, w.service.DefaultSchedule) {
		t.Errorf("a default below a second hinders other changes: %v, %v", kept.RetrySchedule, err)
	}
	_, err = w.update(s, func(s *subscription.Settings) { s.RetrySchedule = []time.Duration{15 * time.Millisecond} })
	w.refused(err, problem.ValidationFailed, "retrySchedule[0]")
	_, err = w.update(s, func(s *subscription.Settings) { s.URL = "http://internal" })
	w.refused(err, problem.ValidationFailed, "url")
}

// What a receiver did counts no more once its endpoint was changed, or somebody has resumed it; while its subscription is paused or
// disabled it gets nothing, and after that was deleted nobody asks for it. A change that is undone is heard of by nobody.
func TestWhoseReceiversAreForgotten(t *testing.T) {
	w := newWorld(t)
	s := w.create(nil)
	lane := laneOf(s)
	var heard []wakeup.Change
	t.Cleanup(w.db.HearSubscriptions(func(c wakeup.Change) { heard = append(heard, c) }))
	step := func(what string, err error, forgotten bool) {
		t.Helper()
		want := []wakeup.Change{{Lane: lane}, {Lane: lane, Anew: true}}
		if !forgotten {
			want = want[:1]
		}
		if w.ok(err); !slices.Equal(heard, want) {
			t.Errorf("%s: heard of %v", what, heard)
		}
		heard = nil
	}
	_, err := w.service.Pause(t.Context(), lane, subscriptions.AnyVersion, "", by)
	step("paused", err, true)
	undone := w.InTx(t.Context(), func(ctx context.Context) error {
		_, err := w.service.Resume(ctx, lane, subscriptions.AnyVersion, false, by)
		return errors.Join(err, errors.New("the answer could not be kept"))
	})
	if undone == nil || len(heard) > 0 {
		t.Errorf("undone (%v): heard of %v", undone, heard)
	}
	_, err = w.service.Resume(t.Context(), lane, subscriptions.AnyVersion, false, by)
	step("resumed", err, true)
	_, err = w.update(s, func(s *subscription.Settings) { s.URL = "https://example.com/another" })
	step("another endpoint", err, true)
	_, err = w.update(s, func(s *subscription.Settings) { s.EventTypes = subscription.Filter{"*"} })
	step("another filter", err, false)
	_, err = w.service.Disable(t.Context(), lane, "https://example.com/another", "gone")
	step("disabled", err, true)
	step("deleted", w.service.Delete(t.Context(), lane, subscriptions.AnyVersion, by), true)
}

func TestPauseResumeDelete(t *testing.T) {
	w := newWorld(t)
	s := w.create(nil)
	lane := laneOf(s)
	paused, err := w.service.Pause(t.Context(), lane, 1, "maintenance", by)
	if err != nil || paused.Status != subscription.StatusPaused || paused.Reason != "maintenance" || w.sweepOf(s) != "park" {
		t.Errorf("paused %+v, %v, sweep %s", paused, err, w.sweepOf(s))
	}
	if again, err := w.service.Pause(t.Context(), lane, 2, "", by); err != nil || again.Version != 2 {
		t.Errorf("paused again %+v, %v", again, err)
	}
	active, err := w.service.Resume(t.Context(), lane, 2, true, by)
	if err != nil || active.Status != subscription.StatusActive || w.sweepOf(s) != "skip" {
		t.Errorf("resumed %+v, %v, sweep %s", active, err, w.sweepOf(s))
	}
	w.ok(w.service.Delete(t.Context(), lane, 3, by))
	if w.sweepOf(s) != "cancel" {
		t.Errorf("deleted, sweep %s", w.sweepOf(s))
	}
	_, err = w.service.Get(t.Context(), lane)
	w.refused(err, problem.NotFound)
	_, err = w.service.Resume(t.Context(), lane, 0, false, by)
	w.refused(err, problem.NotFound)
	w.refused(w.service.Delete(t.Context(), lane, 0, by), problem.NotFound)
	_, err = w.service.Pause(t.Context(), dispatch.Lane{Tenant: "other", SubscriptionID: s.ID}, 0, "", by)
	w.refused(err, problem.NotFound)
}

func TestDisable(t *testing.T) {
	w := newWorld(t)
	s := w.create(nil)
	elsewhere, err := w.service.Disable(t.Context(), laneOf(s), s.URL+"/before", subscription.ReasonGone)
	if w.ok(err); elsewhere != nil || w.stored(s).Status != subscription.StatusActive {
		t.Errorf("disabled by what its earlier URL answered: %+v", elsewhere)
	}
	for _, changed := range []bool{true, false} {
		disabled, err := w.service.Disable(t.Context(), laneOf(s), s.URL, subscription.ReasonGone)
		w.ok(err)
		if (disabled != nil) != changed || changed && (disabled.Status != subscription.StatusDisabled || disabled.Version != 2) {
			t.Errorf("disabled %+v", disabled)
		}
	}
	if got := w.stored(s); got.Status != subscription.StatusDisabled || got.Reason != subscription.ReasonGone || got.Version != 2 {
		t.Errorf("stored %+v", got)
	}
	w.ok(w.service.Delete(t.Context(), laneOf(s), 0, by))
	for _, lane := range []dispatch.Lane{laneOf(s), {Tenant: "acme", SubscriptionID: "sub_none"}} {
		disabled, err := w.service.Disable(t.Context(), lane, s.URL, subscription.ReasonGone)
		w.ok(err)
		if disabled != nil {
			t.Errorf("disabled %+v", disabled)
		}
	}
}

func TestRotation(t *testing.T) {
	w := newWorld(t)
	s := w.create(nil)
	lane := laneOf(s)
	rotated, signing, err := w.service.RotateSecret(t.Context(), lane, 1, 24*time.Hour, by)
	w.ok(err)
	kept, err := w.OpenSecret(t.Context(), "acme", s.ID, rotated.Secrets.Current)
	if err != nil || !kept.Equal(signing) || rotated.Secrets.Previous != s.Secrets.Current || !rotated.Secrets.OverlapEnd.Equal(start.Add(24*time.Hour)) {
		t.Errorf("rotated %+v, %v", rotated.Secrets, err)
	}
	for _, overlap := range []time.Duration{-1, subscription.MaxOverlap + 1} {
		_, _, err = w.service.RotateSecret(t.Context(), lane, 0, overlap, by)
		w.refused(err, problem.ValidationFailed, "overlapHours")
	}
	made := w.made
	_, _, err = w.service.RotateSecret(t.Context(), lane, 0, time.Hour, by) // one is under way
	w.refused(err, problem.Conflict)
	if _, err := w.OpenSecret(t.Context(), "acme", s.ID, fmt.Sprintf("sec_%026d", made+2)); err == nil {
		t.Error("a refused rotation left its secret behind")
	}
	done, err := w.service.CompleteRotation(t.Context(), lane, 0, by)
	if err != nil || done.Secrets.Previous != "" || done.Secrets.Current != rotated.Secrets.Current {
		t.Errorf("completed %+v, %v", done.Secrets, err)
	}
}

// secretless keeps no secret.
type secretless struct{ subscriptions.Store }

var errNotKept = errors.New("not kept")

func (secretless) SaveSecret(context.Context, dispatch.Lane, string, secret.Secret, time.Time) error {
	return errNotKept
}

// Whoever was shown one would refuse every delivery, or get none since none can be signed.
func TestASecretThatIsNotKeptIsNotTheSubscriptions(t *testing.T) {
	w := newWorld(t)
	s := w.create(nil)
	w.service.Store = secretless{w.Store}
	if _, _, err := w.service.RotateSecret(t.Context(), laneOf(s), 0, time.Hour, by); !errors.Is(err, errNotKept) {
		t.Errorf("rotated: %v", err)
	}
	if now := w.stored(s); now.Version != s.Version || now.Secrets != s.Secrets {
		t.Errorf("it has %+v", now.Secrets)
	}
	if created, _, err := w.created("acme", settings(), by); !errors.Is(err, errNotKept) {
		t.Errorf("created %+v, %v", created, err)
	}
}

func (w *world) Send(_ context.Context, r dispatch.Request) delivery.Outcome {
	w.requests = append(w.requests, r)
	if w.onSend != nil {
		w.onSend()
	}
	return delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 500, RequestHeaders: r.Headers}
}

func (w *world) AttemptStarted(ctx context.Context, _ dispatch.Leased, _ int) (context.Context, dispatch.AttemptSpan) {
	return ctx, dispatch.AttemptSpan{End: func(delivery.Outcome) {}, NotMade: func(delivery.Outcome) {}}
}
func (w *world) StaleLease(context.Context, string)                    {}
func (w *world) DeliveriesEnded(context.Context, delivery.Status, int) {}

// A tenant that changes one of its subscriptions all day makes neither reading nor changing it slow: on SQLite a change holds the
// one writer that everybody's events wait for.
func TestASubscriptionOfManyChangesIsReadAsFast(t *testing.T) {
	w := newWorld(t)
	s := w.create(nil)
	read := func() {
		_, err := w.service.Get(t.Context(), laneOf(s))
		w.ok(err)
	}
	once := testing.AllocsPerRun(20, read)
	for i := range 200 {
		_, err := w.service.Update(t.Context(), laneOf(s), subscriptions.AnyVersion, by, func(to *subscription.Settings) { to.Name = fmt.Sprint(i) })
		w.ok(err)
	}
	if many := testing.AllocsPerRun(20, read); many > 2*once {
		t.Errorf("%v allocations, %v after the first change", many, once)
	}
	got, err := w.service.Get(t.Context(), laneOf(s))
	w.ok(err)
	folded, err := w.LoadSubscription(t.Context(), laneOf(s))
	w.ok(err)
	if !reflect.DeepEqual(got, folded) || got.Version != 201 {
		t.Errorf("got %+v, the stream says %+v", got, folded)
	}
}
