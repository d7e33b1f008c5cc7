package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// Contract, section 6: emit takes single events, lists, {"events": [...]} and NDJSON, from a file or from its input.
func TestEmit(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	acme := newTenant(t, s)
	encode := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	fresh := func() object { return acme.visit("visit_report.approved", object{"eventId": eventID()}) }
	dir, env := t.TempDir(), environment(t.TempDir(), "ORDINAVO_URL="+s.url, "ORDINAVO_TOKEN="+platformKey)
	for name, c := range map[string]struct {
		input string
		count int
	}{
		"one event":   {encode(fresh()), 1},
		"a list":      {encode([]any{fresh(), fresh()}), 2},
		"an envelope": {encode(object{"events": []any{fresh(), fresh(), fresh()}}), 3},
		"lines":       {encode(fresh()) + "\n" + encode(fresh()) + "\n\n", 2},
		"mixed":       {encode([]any{fresh()}) + "\n" + encode(fresh()), 2},
		"nothing":     {"", 0},
	} {
		file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(file, []byte(c.input), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, stderr := run(t, env, "", "emit", file)
		if code != 0 || out != fmt.Sprintf("%d accepted, 0 duplicates\n", c.count) {
			t.Errorf("%s: exit code %d: %s%s", name, code, out, stderr)
		}
		if code, out, stderr = run(t, env, c.input, "emit", "-"); code != 0 || out != fmt.Sprintf("0 accepted, %d duplicates\n", c.count) {
			t.Errorf("%s again: exit code %d: %s%s", name, code, out, stderr)
		}
	}
	for input, says := range map[string]string{`{"eventType": "x"}`: "validation_failed", `{"eventType":`: "input", `17`: "an event is a JSON object"} {
		if code, _, stderr := run(t, env, input, "emit", "-"); code != 1 || !strings.Contains(stderr, says) {
			t.Errorf("%s: exit code %d: %s", input, code, stderr)
		}
	}
	if code, _, _ := run(t, env, "", "emit", filepath.Join(dir, "missing")); code != 1 {
		t.Errorf("a missing file: exit code %d", code)
	}
}

// A service that dies before it answers gets the same request again, and nothing is sent twice.
func TestEmitSurvivesTheServicesDeath(t *testing.T) {
	t.Parallel()
	for name, crash := range map[string]string{
		"the answer was lost":     "",
		"the answer was not kept": "UPDATE idempotency_keys SET sealed = NULL WHERE token <> ''",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := start(t, dir)
			acme, hook := newTenant(t, s), receive(t, nil)
			sub := acme.subscribe(hook, "*", nil)
			door := &doorkeeper{t: t}
			door.open(s)
			var after *service
			door.once = func() {
				s.kill()
				if crash != "" {
					alter(t, dir, crash)
				}
				after = start(t, dir)
				door.open(after)
			}
			proxy := httptest.NewServer(door)
			t.Cleanup(proxy.Close)
			id := eventID()
			text, _ := json.Marshal(acme.visit("visit_report.approved", object{"eventId": id}))
			code, out, stderr := run(t, environment(t.TempDir(), "ORDINAVO_URL="+proxy.URL, "ORDINAVO_TOKEN="+platformKey), string(text), "emit", "-")
			if code != 0 || !strings.Contains(out, "1 accepted, 0 duplicates") && !strings.Contains(out, "0 accepted, 1 duplicates") {
				t.Fatalf("exit code %d: %s%s", code, out, stderr)
			}
			acme.api = acme.at(after)
			acme.settled(id, sub.ID, "succeeded")
			for _, again := range hook.all() {
				if again.eventID() != id || again.deliveryID() != hook.all()[0].deliveryID() {
					t.Errorf("got %s as %s", again.eventID(), again.deliveryID())
				}
			}
			if list := into[page[acceptedEvent]](acme.get("/v1/events").want(http.StatusOK)).Data; len(list) != 1 {
				t.Errorf("%d events", len(list))
			}
		})
	}
}

// doorkeeper stands before a service at an address that stays. The first request's answer it keeps to itself.
type doorkeeper struct {
	t     *testing.T
	once  func()
	used  atomic.Bool
	proxy atomic.Pointer[httputil.ReverseProxy]
}

func (d *doorkeeper) open(s *service) {
	behind, err := url.Parse(s.url)
	if err != nil {
		d.t.Error(err)
		return
	}
	d.proxy.Store(httputil.NewSingleHostReverseProxy(behind))
}

func (d *doorkeeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.used.Swap(true) {
		d.proxy.Load().ServeHTTP(w, r)
		return
	}
	kept := httptest.NewRecorder()
	d.proxy.Load().ServeHTTP(kept, r)
	if kept.Code != http.StatusAccepted {
		d.t.Errorf("the first request: %d: %s", kept.Code, kept.Body)
	}
	d.once()
	panic(http.ErrAbortHandler) // the connection ends without an answer
}
