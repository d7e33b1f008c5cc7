package e2e_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// Attempts are counted anew while the service goes on, on a file as on a server that two processes share; the
// rebuild is killed again and again, and each attempt is counted once.
func TestRebuildBesideALiveService(t *testing.T) {
	t.Parallel()
	for kind, c := range map[string]struct {
		env       func(t *testing.T) []string
		processes int
	}{
		"SQLite": {func(*testing.T) []string { return nil }, 1},
		"PostgreSQL": {func(t *testing.T) []string {
			return []string{"ORDINAVO_DATABASE_URL=" + pgtest.Empty(t), "ORDINAVO_MASTER_KEY=" + base64.StdEncoding.EncodeToString(make([]byte, 32))}
		}, 2},
	} {
		t.Run(kind, func(t *testing.T) {
			dir, env := t.TempDir(), c.env(t)
			var services []*service
			for range c.processes {
				services = append(services, start(t, dir, env...))
			}
			acme := newTenant(t, services[0])
			hook := receive(t, nil)
			acme.subscribe(hook, "*", object{"maxInFlight": 64})
			const before, meanwhile = 400, 1000
			acme.emitBatches(before)
			hook.wait(before)
			rebuilt := make(chan error)
			go func() { rebuilt <- rebuildAfterKills(t, environment(dir, env...)) }()
			tenant{acme.at(services[c.processes-1]), acme.id}.emitBatches(meanwhile)
			if err := <-rebuilt; err != nil {
				t.Error(err)
			}
			hook.wait(before + meanwhile)
			eventually(t, "each attempt is counted", func() bool { return acme.attempts() >= before+meanwhile })
			if err := rebuildMetrics(t, environment(dir, env...)); err != nil {
				t.Error(err)
			}
			if n := acme.attempts(); n != before+meanwhile {
				t.Errorf("%d attempts are counted, %d were made", n, before+meanwhile)
			}
		})
	}
}

func (n tenant) emitBatches(events int) {
	n.t.Helper()
	const batch = 20
	for range events / batch {
		n.emitMany(batch)
	}
}

// attempts is how many of the tenant's are counted.
func (n tenant) attempts() (total int) {
	n.t.Helper()
	for _, p := range into[struct{ Data []struct{ Count int } }](n.get("/v1/metrics/deliveries?interval=24h").want(http.StatusOK)).Data {
		total += p.Count
	}
	return total
}

// rebuildAfterKills kills five rebuilds after a while, those that are not done by then, and lets one end.
func rebuildAfterKills(t *testing.T, env []string) error {
	for range 5 {
		after := time.Duration(rand.IntN(150)) * time.Millisecond
		command := exec.Command(binary, "rebuild", "metrics")
		command.Env = env
		if err := command.Start(); err != nil {
			return err
		}
		killer := time.AfterFunc(after, func() { _ = command.Process.Kill() })
		t.Logf("after %s: %v", after, command.Wait())
		killer.Stop()
	}
	return rebuildMetrics(t, env)
}

func rebuildMetrics(t *testing.T, env []string) error {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	command := exec.CommandContext(ctx, binary, "rebuild", "metrics")
	command.Env = env
	out, err := command.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.HasPrefix(string(out), "metrics: ") {
		return fmt.Errorf("rebuild: %v: %s", err, out)
	}
	return nil
}

func TestRebuildNeedsADatabaseOfItsSchema(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(databasePath(dir), nil, 0o600); err != nil { // as a start leaves it that was killed before it migrated
		t.Fatal(err)
	}
	code, _, errs := run(t, environment(dir), "", "rebuild", "metrics")
	if code != 1 || !strings.Contains(errs, "run migrate up") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	if code, _, errs = run(t, environment(t.TempDir()), "", "rebuild", "everything"); code != 2 || !strings.Contains(errs, "there is metrics") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}
