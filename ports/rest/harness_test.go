package rest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"github.com/ordinavo/webhooks/adapters/telemetry"
	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/catchup"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/application/preview"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/subscriptions"
	domain "github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/ports/rest"
)

// harness is an API over a fake, with a key of each kind.
type harness struct {
	*testing.T
	api   *rest.API
	live  *live.Hub
	store *fake
	now   time.Time
	log   *bytes.Buffer
	// Keys as they are sent.
	platform, admin, reader, bound, other string
}

const (
	own   = "tenant-123"
	alien = "tenant-999"
)

// streamKept is for how long the log is kept.
const streamKept = 30 * 24 * time.Hour

func newHarness(t *testing.T, change ...func(*rest.Dependencies)) *harness {
	t.Helper()
	f := &fake{
		tenants: map[tenant.ID]access.Tenant{}, keys: map[access.Hash]domain.Key{}, subscriptions: map[dispatch.Lane]subscription.Subscription{}, recorded: map[dispatch.Lane][]subscriptions.Recorded{}, circuits: map[string]circuit.Report{},
		customers: map[int64]payload.Customer{}, locations: map[int64]payload.Location{}, contacts: map[int64]payload.Contact{},
		external: map[string]string{}, known: map[string]event.Event{}, changes: map[string][]delivery.Change{}, answers: map[idempotency.Key]row{},
	}
	h := &harness{T: t, store: f, now: time.Date(2026, 6, 18, 17, 0, 0, 0, time.UTC), log: &bytes.Buffer{}}
	now := func() time.Time { return h.now }
	for _, id := range []tenant.ID{own, alien} {
		f.tenants[id] = access.Tenant{ID: id, Name: "T", Weight: tenant.DefaultWeight, CreatedAt: h.now, Features: map[tenant.Feature]bool{}}
	}
	h.platform = h.key(domain.Key{Scopes: domain.Scopes()})
	h.admin = h.key(domain.Key{Tenant: own, Scopes: domain.Scopes()[:7]})
	h.reader = h.key(domain.Key{Tenant: own, Scopes: []domain.Scope{domain.WebhooksRead}})
	h.bound = h.key(domain.Key{Tenant: own, Scopes: domain.Scopes()[:7], SubscriptionID: "sub_bound"})
	h.other = h.key(domain.Key{Tenant: alien, Scopes: domain.Scopes()[:7]})
	deps := rest.Dependencies{
		Intake: f, SubscriptionList: f, Circuits: f, History: &subscriptions.History{Store: f}, Tester: f, Directory: f, Tenants: &access.Tenants{Store: f, Now: now},
		Subscriptions: &subscriptions.Service{Store: f, Gate: f, URLs: f, Now: now, NewID: nextID,
			NewSecret: func() secret.Secret { return secret.FromBytes([32]byte{1}) }, DefaultSchedule: []time.Duration{30 * time.Second, 2 * time.Minute}},
		Keys: access.NewKeys(f, now, nextID, rand.Reader), Events: &queries.Events{Reader: f, Now: now}, Deliveries: &queries.Deliveries{Reader: f, Tests: f, Counts: f},
		Retries: &queries.Retries{Store: f, Gate: f, Now: now}, EventRetries: &queries.EventRetries{Store: f, Now: now}, Jobs: &jobs.Service{Store: f, Picker: jobs.Picker{Deliveries: f, Events: f, Gate: f}, Now: now, NewID: nextID},
		Idempotency: idempotency.New(f, f, now, func() string { return nextID("tok_") }),
		Ready:       func(context.Context) error { return f.fail }, Tracer: noop.NewTracerProvider().Tracer(""),
		Metrics:     http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") }),
		TraceParent: func(context.Context) string { return "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" }, WithTraceParent: telemetry.WithTraceParent,
		Log: slog.New(slog.NewJSONHandler(&locked{w: h.log}, &slog.HandlerOptions{Level: slog.LevelDebug})), Now: now, Version: "test",
	}
	deps.Previews = &preview.Previewer{Service: deps.Subscriptions, Store: f, Attempter: &dispatch.Attempter{Secrets: f, UserAgent: "Ordinavo-Webhooks/test"}}
	deps.Live = live.New(f, f, now, live.Limits{Listeners: 3, PerKey: 2, Kept: streamKept})
	deps.CatchUp = &catchup.Service{Reader: f, Subscriptions: deps.Subscriptions, Signer: deps.Previews.Attempter, Hub: deps.Live, Now: now, Kept: 30 * 24 * time.Hour}
	deps.DeliveryMetrics = f
	deps.Doctor = &preview.Doctor{Service: deps.Subscriptions, Secrets: f}
	for _, c := range change {
		c(&deps)
	}
	h.live, h.api = deps.Live, rest.New(deps)
	return h
}

// locked lets requests at once write to one log.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (h *harness) key(k domain.Key) string {
	k.ID, k.Name, k.CreatedAt, k.Prefix = nextID("key_"), "k", h.now, "ord_live_x"
	text := "ord_live_" + k.ID
	h.store.keys[access.HashOf(text)] = k
	return text
}

// call sends a request; headers come in pairs.
func (h *harness) call(key, method, path, body string, headers ...string) answer {
	h.Helper()
	request := httptest.NewRequest(method, "http://localhost/", strings.NewReader(body))
	request.URL.Opaque = path // as it is, so that broken paths arrive too
	request.RequestURI = path
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	response, err := h.api.App().Test(request, -1)
	if err != nil {
		h.Fatalf("%s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	return read(h.T, response)
}

func read(t *testing.T, response *http.Response) answer {
	t.Helper()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{t: t, status: response.StatusCode, header: response.Header, body: string(text)}
}
