package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// holding is a receiver whose requests all wait until they are let go, or the test's end.
func holding(t *testing.T) (r *receiver, letGo func()) {
	t.Helper()
	held := make(chan struct{})
	letGo = func() {
		select {
		case <-held:
		default:
			close(held)
		}
	}
	r = receive(t, func(int, arrival, http.ResponseWriter) { <-held })
	t.Cleanup(letGo)
	return r, letGo
}

// emitMany sends n events in one request and returns their IDs.
func (n tenant) emitMany(count int) (ids []string) {
	n.t.Helper()
	var lines bytes.Buffer
	for range count {
		id := eventID()
		line, err := json.Marshal(n.visit("visit_report.approved", object{"eventId": id}))
		if err != nil {
			n.t.Fatal(err)
		}
		lines.Write(append(line, '\n'))
		ids = append(ids, id)
	}
	request, err := http.NewRequestWithContext(n.t.Context(), http.MethodPost, n.url+"/v1/events", &lines)
	if err != nil {
		n.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-ndjson")
	request.Header.Set("Authorization", "Bearer "+n.key)
	request.Header.Set("X-Ordinavo-Tenant", n.id)
	response, err := httpClient.Do(request)
	if err != nil {
		n.t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusAccepted {
		n.t.Fatalf("%d events: got %d", count, response.StatusCode)
	}
	return ids
}

// never watches for a while that something does not happen.
func never(t *testing.T, what string, during time.Duration, happens func() bool) {
	t.Helper()
	if poll(during, happens) == nil {
		t.Fatal(what)
	}
}

// onceEach wants each event delivered by one attempt.
func (n tenant) onceEach(hook *receiver, sub subscription, ids []string) {
	n.t.Helper()
	for _, id := range ids {
		if got := n.settled(id, sub.ID, "succeeded"); len(got.Attempts) != 1 {
			n.t.Errorf("%s has the attempts %+v", id, got.Attempts)
		}
	}
	hook.exactly(len(ids))
}

// A process that was paused for longer than a lease lives does not take its own leases for those of a dead one.
func TestAPauseSendsNothingTwice(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	acme := newTenant(t, s)
	hook, letGo := holding(t)
	sub := acme.subscribe(hook, "*", object{"timeoutSeconds": 30, "maxInFlight": 64})
	ids := acme.emitMany(20)
	hook.wait(len(ids))
	s.signal(t, syscall.SIGSTOP)
	never(t, "it works while it is stopped", 7*time.Second, s.hasEnded)
	s.signal(t, syscall.SIGCONT)
	never(t, "a delivery came twice", 2*time.Second, func() bool { return len(hook.all()) > len(ids) })
	letGo()
	acme.onceEach(hook, sub, ids)
}

// Contract, section 6: a connection that never sends a byte does not take the attempts' time to drain.
func TestASilentConnectionCutsNoAttempts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir, "ORDINAVO_SHUTDOWN_TIMEOUT=9s")
	acme := newTenant(t, s)
	hook, letGo := holding(t)
	sub := acme.subscribe(hook, "*", object{"timeoutSeconds": 30, "maxInFlight": 16})
	ids := acme.emitMany(40)
	hook.wait(16)
	silent, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	s.platform(t).get("/readyz").want(http.StatusOK) // accepted later than the silent one
	s.signal(t, syscall.SIGTERM)
	eventually(t, "the server gives the connection up", func() bool { return s.log.says("connections were cut off") })
	letGo()
	if code := s.exitCode(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	hook.exactly(16) // the rest is for the next process
	acme.api = acme.at(start(t, dir))
	acme.onceEach(hook, sub, ids)
}

// Nobody takes the tables away from a service that uses them.
func TestNoMigrationUnderALiveService(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	acme, hook := newTenant(t, s), receive(t, nil)
	sub := acme.subscribe(hook, "*", nil)
	if code, out, stderr := run(t, environment(dir), "", "migrate", "down", "1"); code != 1 || !strings.Contains(stderr, "another process serves this database") {
		t.Errorf("exit code %d: %s%s", code, out, stderr)
	}
	acme.settled(acme.emit(acme.visit("visit_report.approved", nil)), sub.ID, "succeeded")
}

// One turn leases fewer than there are slots; the next turns fill the others while the first attempts are still out.
func TestAllFreeSlotsAreFilled(t *testing.T) {
	t.Parallel()
	const lanes, events, slots = 24, 16, 320 // a turn leases 256
	dir := t.TempDir()
	s := start(t, dir, "ORDINAVO_ROLES=api,router")
	acme := newTenant(t, s)
	hook, _ := holding(t)
	for i := range lanes {
		acme.subscribe(hook, "*", object{"name": fmt.Sprint("lane ", i), "timeoutSeconds": 30, "maxInFlight": events})
	}
	for _, id := range acme.emitMany(events) {
		eventually(t, "the fan-out", func() bool { return len(acme.event(id).Dispositions) == lanes })
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	start(t, dir, fmt.Sprint("ORDINAVO_MAX_IN_FLIGHT=", slots))
	hook.wait(slots - 12)
	if n := len(hook.all()); n > slots {
		t.Errorf("%d are out, more than there are slots", n)
	}
}

// A file is one file under all of its names.
func TestOneProcessServesAFileUnderAllItsNames(t *testing.T) {
	t.Parallel()
	dir, linked := t.TempDir(), t.TempDir()
	s := start(t, dir)
	for _, name := range []string{filepath.Base(databasePath(dir)), "master.key"} {
		if err := os.Symlink(filepath.Join(dir, name), filepath.Join(linked, name)); err != nil {
			t.Fatal(err)
		}
	}
	code, _, stderr := run(t, environment(linked), "", "serve")
	if code != 1 || !strings.Contains(stderr, "another process serves this database") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	s.platform(t).get("/readyz").want(http.StatusOK)
}

// Contract, section 6: emit takes the platform key when it has no token of its own.
func TestEmitTakesThePlatformKey(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	acme := newTenant(t, s)
	text, err := json.Marshal(acme.visit("visit_report.approved", nil))
	if err != nil {
		t.Fatal(err)
	}
	code, out, stderr := run(t, environment(t.TempDir(), "ORDINAVO_URL="+s.url), string(text), "emit", "-")
	if code != 0 || out != "1 accepted, 0 duplicates\n" {
		t.Errorf("exit code %d: %s%s", code, out, stderr)
	}
}
