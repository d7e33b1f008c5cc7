package e2e_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// stuck is a receiver whose first request waits until it is let go, or the receiver's end.
func stuck(t *testing.T) (r *receiver, letGo func()) {
	t.Helper()
	held := make(chan struct{})
	open := true
	letGo = func() {
		if open {
			close(held)
			open = false
		}
	}
	r = receive(t, func(n int, _ arrival, _ http.ResponseWriter) {
		if n == 1 {
			<-held
		}
	})
	t.Cleanup(letGo)
	return r, letGo
}

// Contract, section 6: SIGTERM and SIGINT drain, and so does a terminal that closes; attempts under way finish, and nothing is sent twice after the restart.
func TestSignalsDrain(t *testing.T) {
	t.Parallel()
	signals := map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": syscall.SIGINT, "SIGHUP": syscall.SIGHUP}
	if signal.Ignored(syscall.SIGHUP) {
		t.Log("these tests were started to outlive their terminal, and so is what they start: SIGHUP is left out")
		delete(signals, "SIGHUP")
	}
	for name, sig := range signals {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := start(t, dir)
			acme := newTenant(t, s)
			hook, letGo := stuck(t)
			sub := acme.subscribe(hook, "*", nil)
			id := acme.emit(acme.visit("visit_report.approved", nil))
			hook.wait(1)
			s.signal(t, sig)
			eventually(t, "the drain begins", func() bool { return s.log.says(`"draining"`) })
			if sig == syscall.SIGHUP {
				s.signal(t, sig) // as a terminal that closes says it, once by its shell
			}
			if s.hasEnded() {
				t.Fatal("it ended while an attempt was out")
			}
			letGo()
			if code := s.exitCode(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
			again := start(t, dir)
			acme.api = acme.at(again)
			if got := acme.settled(id, sub.ID, "succeeded"); got.AttemptCount != 1 {
				t.Errorf("%d attempts", got.AttemptCount)
			}
			marker := acme.emit(acme.visit("visit_report.approved", nil))
			acme.settled(marker, sub.ID, "succeeded")
			hook.exactly(2)
		})
	}
}

// … a second one stops at once, whatever is under way.
func TestASecondSignalStopsAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	acme := newTenant(t, s)
	hook, _ := stuck(t)
	acme.subscribe(hook, "*", object{"timeoutSeconds": 30})
	acme.emit(acme.visit("visit_report.approved", nil))
	hook.wait(1)
	s.signal(t, syscall.SIGTERM)
	eventually(t, "the drain begins", func() bool { return s.log.says(`"draining"`) })
	s.signal(t, syscall.SIGTERM)
	if code := s.exitCode(t); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if s.log.says(`"stopped"`) {
		t.Error("it drained all the same")
	}
}

// With a delay, load balancers are told first, and what they send until they have noticed is served.
func TestItIsNotReadyBeforeItDrains(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), "ORDINAVO_SHUTDOWN_DELAY=5m")
	acme := newTenant(t, s)
	hook := receive(t, nil)
	sub := acme.subscribe(hook, "*", nil)
	s.platform(t).get("/readyz").want(http.StatusOK)
	s.signal(t, syscall.SIGTERM)
	eventually(t, "/readyz says so", func() bool {
		answer := s.platform(t).get("/readyz")
		return answer.status == http.StatusServiceUnavailable && strings.Contains(string(answer.body), "about to stop")
	})
	acme.settled(acme.emit(acme.visit("visit_report.approved", nil)), sub.ID, "succeeded")
	s.signal(t, syscall.SIGTERM)
	if code := s.exitCode(t); code != 1 {
		t.Errorf("exit code %d of a process that was told to stop at once", code)
	}
}

// … and the timeout bounds the drain: what is cut off is not lost.
func TestTheDrainHasATimeout(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir, "ORDINAVO_SHUTDOWN_TIMEOUT=200ms")
	acme := newTenant(t, s)
	hook, _ := stuck(t)
	sub := acme.subscribe(hook, "*", object{"timeoutSeconds": 30})
	id := acme.emit(acme.visit("visit_report.approved", nil))
	hook.wait(1)
	s.signal(t, syscall.SIGTERM)
	s.exitCode(t)
	acme.api = acme.at(start(t, dir))
	acme.settled(id, sub.ID, "succeeded")
	got := hook.exactly(2)
	if string(got[0].body) != string(got[1].body) || got[0].deliveryID() != got[1].deliveryID() {
		t.Error("the second attempt is not the same delivery")
	}
}

// Design, section 4: a restart takes over its predecessor's leases at once.
func TestARestartTakesOverLeasesAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	acme := newTenant(t, s)
	hook, _ := stuck(t)
	sub := acme.subscribe(hook, "*", object{"timeoutSeconds": 30})
	id := acme.emit(acme.visit("visit_report.approved", nil))
	first := hook.wait(1)[0]
	s.kill()
	alter(t, dir, "UPDATE incarnations SET heartbeat_at = heartbeat_at + 86400000000") // who waits for its end waits for a day
	again := start(t, dir)
	second := hook.wait(2)[1]
	if second.deliveryID() != first.deliveryID() || string(second.body) != string(first.body) {
		t.Error("it is not the same delivery")
	}
	acme.api = acme.at(again)
	got := acme.settled(id, sub.ID, "succeeded")
	if len(got.Attempts) != 2 || got.Attempts[0].Outcome != "lease_expired" {
		t.Errorf("the history does not show the lost attempt: %+v", got.Attempts)
	}
}

// Whoever reads the log may be gone, as one that is restarted: the process goes on, and stops when it is told to.
func TestAProcessOutlivesWhoReadsItsLog(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	if err := s.stderr.Close(); err != nil {
		t.Fatal(err)
	}
	s.platform(t).withKey("ord_live_nobody_has_this_one").get("/v1/tenants").want(http.StatusUnauthorized) // which is logged
	s.deliversAndStops(t)
}

// … or stand still: a full pipe holds up neither a request nor the drain.
func TestNobodyWaitsForWhoReadsTheLog(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &service{command: exec.Command(binary, "serve"), ended: make(chan struct{})}
	s.command.Env, s.command.Stderr = environment(t.TempDir()), write
	if err := errors.Join(s.command.Start(), write.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	t.Cleanup(func() { _ = read.Close() })
	go func() { s.waitErr = s.command.Wait(); close(s.ended) }()
	var listening struct{ Address string }
	if err := json.NewDecoder(read).Decode(&listening); err != nil { // and it reads no more
		t.Fatal(err)
	}
	s.url = "http://" + listening.Address
	nobody := s.platform(t).withKey("ord_live_nobody_has_this_one")
	for range 2000 { // each is logged, and a pipe holds some hundred lines
		nobody.get("/v1/tenants").want(http.StatusUnauthorized)
	}
	s.deliversAndStops(t)
}

// deliversAndStops wants the process to go on, and to stop when it is told to.
func (s *service) deliversAndStops(t *testing.T) {
	t.Helper()
	acme, hook := newTenant(t, s), receive(t, nil)
	sub := acme.subscribe(hook, "*", nil)
	acme.settled(acme.emit(acme.visit("visit_report.approved", nil)), sub.ID, "succeeded")
	s.signal(t, syscall.SIGTERM)
	if code := s.exitCode(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Two processes on one file: the second one refuses, and the first goes on.
func TestOneProcessServesAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	code, _, stderr := run(t, environment(dir), "", "serve")
	if code != 1 || !strings.Contains(stderr, "another process serves this database") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	s.platform(t).get("/readyz").want(http.StatusOK)
}
