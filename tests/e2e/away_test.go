package e2e_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// absences are the ways in which a database is away; each gives its URL, and what brings it back.
var absences = map[string]func(t *testing.T) (url string, comeBack func() error){
	"a server that is down": func(t *testing.T) (string, func() error) {
		server, err := pgtest.Start("fsync=off")
		pgtest.Check(t, err)
		t.Cleanup(func() { _ = server.Stop() })
		server.Halt()
		return server.URL, func() error { return server.Resume() }
	},
	"a way that lets nobody through": func(t *testing.T) (string, func() error) {
		proxy := pgtest.NewProxy(t, pgtest.Empty(t))
		proxy.Shut(true)
		return proxy.URL, func() error { proxy.Shut(false); return nil }
	},
}

const waits = `"msg":"waiting for the database"`

func onDatabase(url string) []string {
	return []string{"ORDINAVO_DATABASE_URL=" + url, "ORDINAVO_MASTER_KEY=" + base64.StdEncoding.EncodeToString(make([]byte, 32))}
}

// A service whose database is away at its start says so to its log, its probes and its callers, and goes on by itself once it is there.
func TestTheDatabaseIsAwayAtTheStart(t *testing.T) {
	t.Parallel()
	documentOf(t, sharedService(t).url) // which a service that waits does not show
	for how, away := range absences {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			url, comeBack := away(t)
			s := start(t, t.TempDir(), onDatabase(url)...)
			eventually(t, "the log tells of it", func() bool { return s.log.says(waits) })
			id := eventID()
			event := object{"eventId": id, "eventType": "visit_report.approved", "occurredAt": "2026-06-18T16:40:00Z", "tenantId": "early", "customerId": 12,
				"visitReport": object{"id": 901, "title": "Visit", "status": "Approved"}}
			caller := s.platform(t).as("early")
			caller.get("/healthz").want(http.StatusOK)
			for _, got := range []answer{caller.get("/readyz"), caller.post("/v1/events", event)} {
				if p := got.refused(http.StatusServiceUnavailable, "unavailable"); got.header.Get("Retry-After") != "1" || !strings.Contains(p.Detail, "database") {
					t.Errorf("%s: Retry-After %q, %q", got.request, got.header.Get("Retry-After"), p.Detail)
				}
			}
			if err := comeBack(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is ready", func() bool {
				got, err := caller.try(t.Context(), http.MethodGet, "/readyz", nil)
				return s.hasEnded() || err == nil && got.status == http.StatusOK
			})
			early, hook := newTenantCalled(t, s, "early"), receive(t, nil)
			sub := early.subscribe(hook, "*", nil)
			if early.emit(event) != id {
				t.Error("the event that was refused has another ID")
			}
			early.settled(id, sub.ID, "succeeded")
			hook.exactly(1)
			if n := strings.Count(s.log.String(), `"msg":"listening"`); n != 1 {
				t.Errorf("it says %d times that it listens", n)
			}
		})
	}
}

// … and one that is asked to end meanwhile does so at once.
func TestASignalWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	url, _ := absences["a way that lets nobody through"](t)
	s := start(t, t.TempDir(), onDatabase(url)...)
	eventually(t, "the log tells of it", func() bool { return s.log.says(waits) })
	s.signal(t, syscall.SIGTERM)
	if code := s.exitCode(t); code != 0 || !s.log.says("stopped while it waited for the database") {
		t.Errorf("exit code %d", code)
	}
}

// Commands wait for the database, too.
func TestACommandWaitsForTheDatabase(t *testing.T) {
	t.Parallel()
	url, comeBack := absences["a way that lets nobody through"](t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	log := &logBook{}
	command := exec.CommandContext(ctx, binary, "migrate", "up")
	command.Env, command.Stderr = environment(t.TempDir(), onDatabase(url)...), log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	eventually(t, "it says that it waits", func() bool { return log.says("waiting for the database") })
	if err := comeBack(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("%v: %s", err, log)
	}
}
