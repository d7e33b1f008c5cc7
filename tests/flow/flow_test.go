// Package flow_test drives an event from acceptance to a receiver with everything real but the process.
package flow_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/egress"
	"github.com/ordinavo/webhooks/adapters/eventlog"
	"github.com/ordinavo/webhooks/adapters/ids"
	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/adapters/sqlite/topics"
	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/signature"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/ports/dispatcher"
	"github.com/ordinavo/webhooks/ports/loops"
	"github.com/ordinavo/webhooks/ports/messages"
)

type quiet struct{}

func (quiet) EventsAccepted(context.Context, []event.Type, int) {}
func (quiet) EventsRefused(context.Context, intake.Reason, int) {}
func (quiet) FanOut(context.Context, intake.Accepted) (string, func(int, error)) {
	return "", func(int, error) {}
}
func (quiet) SubscriptionUnreadable(context.Context, fanout.SubscriptionChange) {}
func (quiet) SubscriptionLost(context.Context, dispatch.Lane)                   {}
func (quiet) RecordUnreadable(context.Context, fanout.Record)                   {}
func (quiet) EventSetAside(context.Context, fanout.SetAside)                    {}
func (quiet) AttemptStarted(ctx context.Context, _ dispatch.Leased, _ int) (context.Context, dispatch.AttemptSpan) {
	return ctx, dispatch.AttemptSpan{End: func(delivery.Outcome) {}}
}
func (quiet) StaleLease(context.Context, string)                    {}
func (quiet) DeliveriesEnded(context.Context, delivery.Status, int) {}

type plain struct{}

func (plain) Seal(p []byte, _ ...string) ([]byte, error) { return p, nil }
func (plain) Open(p []byte, _ ...string) ([]byte, error) { return p, nil }

type gate struct{ *sqlite.Store }

func (g gate) Enabled(ctx context.Context, id tenant.ID, f tenant.Feature) (bool, error) {
	return g.TenantHasFeature(ctx, id, f)
}

type service struct {
	intake *intake.Intake
	subs   *subscriptions.Service
	store  *sqlite.Store
}

func (s *service) subscribe(t testing.TB, wanted subscription.Settings) secret.Secret {
	t.Helper()
	checked, err := s.subs.Check(wanted)
	if err != nil {
		t.Fatal(err)
	}
	_, signing, err := s.subs.Create(t.Context(), "tenant-123", checked, subscriptions.Actor{})
	if err != nil {
		t.Fatal(err)
	}
	return signing
}

func start(t testing.TB, path string) *service {
	t.Helper()
	now := func() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(); err != nil {
		t.Fatal(err)
	}
	store := sqlite.NewStore(db, plain{})
	source := ids.New(now, rand.Reader)
	incarnation := source.New("inc_")
	if err := store.BeginIncarnation(t.Context(), incarnation, now()); err != nil {
		t.Fatal(err)
	}
	sender := egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Clock: now})
	subs := &subscriptions.Service{Store: store, Gate: gate{store}, URLs: sender, Now: now, NewID: source.New,
		NewSecret: func() secret.Secret {
			var b [32]byte
			_, _ = rand.Read(b[:])
			return secret.FromBytes(b)
		}, DefaultSchedule: []time.Duration{50 * time.Millisecond, 100 * time.Millisecond}}
	d := dispatch.New(dispatch.Config{Store: store, Disabler: subs, Observer: quiet{}, Now: now, Jitter: mathrand.Float64, Incarnation: incarnation, MaxInFlight: 64})
	a := &dispatch.Attempter{Sender: sender, Secrets: store, Observer: quiet{}, Now: now, UserAgent: "Ordinavo-Webhooks/test"}
	in := intake.New(intake.Config{Store: store, Observer: quiet{}, Now: now, NewID: source.New})
	sweeper := sweep.New(store, now)
	takeover := dispatch.NewTakeover(store, store, now, incarnation, false)
	fan := fanout.New(fanout.Config{Store: fanout.Remember(store, in.Recent), Gate: gate{store}, Handover: d, Observer: quiet{}, Now: now, NewID: source.New})
	router, err := messages.NewRouter(logger, eventlog.New(topics.Of(db), eventlog.Options{Batch: 64}, logger, now), fan)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	all := []loop.Loop{takeover.Heartbeat(), takeover.Loop(), d.Loop(), in.Loop(), sweeper.Loop(), fan.Turns().Loop()}
	running.Go(func() { loops.Run(ctx, context.WithoutCancel(ctx), logger, nil, time.Now, all...) })
	running.Go(func() { _ = dispatcher.Run(ctx, context.Background(), d, a) })
	running.Go(func() { _ = router.Run(ctx) })
	running.Go(func() {
		watch := db.WatchQueue()
		defer watch.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-watch.C:
				d.Wake()
				sweeper.Wake()
			}
		}
	})
	<-router.Running()
	t.Cleanup(func() {
		stop()
		_ = router.Close()
		running.Wait()
		sender.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &service{in, subs, store}
}

func TestAnEventReachesItsReceiverSigned(t *testing.T) {
	s := start(t, filepath.Join(t.TempDir(), "o.db"))
	type arrival struct {
		header http.Header
		body   []byte
	}
	arrivals := make(chan arrival, 10)
	fails := 2
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if fails > 0 {
			fails--
			w.WriteHeader(500)
			return
		}
		arrivals <- arrival{r.Header.Clone(), body}
	}))
	defer receiver.Close()
	ctx := t.Context()
	if err := s.store.CreateTenant(ctx, access.Tenant{ID: "tenant-123", Name: "T", Weight: tenant.DefaultWeight, CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	whsec := s.subscribe(t, subscription.Settings{Name: "n", URL: receiver.URL, EventTypes: []string{"visit_report.*"},
		Options: payload.DefaultOptions(), Timeout: 5 * time.Second, MaxInFlight: 4})
	e := event.Sample(event.VisitReportApproved, "tenant-123")
	began := time.Now()
	if _, err := s.intake.Accept(ctx, []event.Event{e}, "", nil); err != nil {
		t.Fatal(err)
	}
	t.Log("202 after", time.Since(began))
	got := <-arrivals
	t.Log("arrived after", time.Since(began))
	if err := signature.VerifyBody(got.header.Get(signature.HeaderBody), got.body, whsec); err != nil {
		t.Error(err)
	}
	if !bytes.Contains(got.body, []byte(e.ID)) {
		t.Errorf("%s", got.body)
	}
	for i := range 5 {
		e.ID = ids.New(time.Now, rand.Reader).New("evt_")
		began := time.Now()
		if _, err := s.intake.Accept(ctx, []event.Event{e}, "", nil); err != nil {
			t.Fatal(err)
		}
		accepted := time.Since(began)
		<-arrivals
		t.Log(i, "202 after", accepted, "arrived after", time.Since(began))
	}
}

// BenchmarkFlow is for profiles: go test ./tests/flow -run - -bench . -benchtime 20000x -cpuprofile cpu.out
func BenchmarkFlow(b *testing.B) {
	s := start(b, filepath.Join(b.TempDir(), "o.db"))
	var arrived atomic.Int64
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		arrived.Add(1)
	}))
	defer receiver.Close()
	ctx := b.Context()
	if err := s.store.CreateTenant(ctx, access.Tenant{ID: "tenant-123", Name: "T", Weight: tenant.DefaultWeight, CreatedAt: time.Now()}); err != nil {
		b.Fatal(err)
	}
	s.subscribe(b, subscription.Settings{Name: "n", URL: receiver.URL, EventTypes: []string{"*"},
		Options: payload.DefaultOptions(), Timeout: 5 * time.Second, MaxInFlight: 64})
	source := ids.New(time.Now, rand.Reader)
	b.ResetTimer()
	for sent := 0; sent < b.N; {
		batch := make([]event.Event, min(100, b.N-sent))
		for i := range batch {
			batch[i] = event.Sample(event.VisitReportApproved, "tenant-123")
			batch[i].ID = source.New("evt_")
		}
		if _, err := s.intake.Accept(ctx, batch, "", nil); err != nil {
			b.Fatal(err)
		}
		sent += len(batch)
	}
	b.Logf("accepted %d after %s", b.N, b.Elapsed())
	for arrived.Load() < int64(b.N) {
		select {
		case <-ctx.Done():
			b.Fatal(arrived.Load())
		case <-time.After(time.Millisecond):
		}
	}
}
