package e2e_test

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

func masterKey(fill byte) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(rune('a'+fill)), 32)))
}

// The master key of several processes is rotated while they serve: old,new everywhere, then new,old everywhere, then
// rotate-master, then new alone. Secrets and kept answers open at each step, in every process.
func TestTheMasterKeyIsRotatedWithoutDowntime(t *testing.T) {
	t.Parallel()
	url, older, newer := pgtest.Empty(t), masterKey(1), masterKey(2)
	env := func(master string) []string {
		return []string{"ORDINAVO_DATABASE_URL=" + url, "ORDINAVO_MASTER_KEY=" + master}
	}
	rotate := func(master string) (code int, said string) {
		code, out, errs := run(t, environment(t.TempDir(), env(master)...), "", "keys", "rotate-master")
		return code, out + errs
	}
	hook := receive(t, nil)
	stays := start(t, t.TempDir(), env(older)...)
	acme := newTenant(t, stays)
	once := acme.with("Idempotency-Key", "rotation-1")
	sub := into[subscription](once.post("/v1/subscriptions", wanted(hook, "*", nil)).want(http.StatusCreated))
	arrivals := 0
	works := func(s *service) {
		t.Helper()
		again := once.at(s).post("/v1/subscriptions", wanted(hook, "*", nil)).want(http.StatusCreated)
		if again.header.Get("Idempotency-Replayed") != "true" || into[subscription](again).Secret != sub.Secret {
			t.Errorf("the kept answer is another: %v", again.header)
		}
		acme.api = acme.api.at(s)
		acme.emit(acme.visit("visit_report.approved", nil))
		arrivals++
		signedWith(t, hook.wait(arrivals)[arrivals-1], sub.Secret)
	}
	works(stays)
	if code, _, errs := run(t, environment(t.TempDir(), env(newer)...), "", "serve"); code != 1 || !strings.Contains(errs, "the master key is not the one") {
		t.Errorf("with a key that opens nothing: exit code %d: %s", code, errs)
	}
	for _, step := range []string{older + "," + newer, newer + "," + older} {
		next := start(t, t.TempDir(), env(step)...)
		works(next)
		works(stays)
		stays.kill()
		stays = next
	}
	if code, said := rotate(newer); code != 1 || !strings.Contains(said, "do not open with the master keys given") {
		t.Errorf("without the old key: exit code %d: %s", code, said)
	}
	if code, said := rotate(newer + "," + older); code != 0 || !strings.Contains(said, "3 of 3 sealed values were sealed anew") {
		t.Fatalf("exit code %d: %s", code, said)
	}
	works(stays)
	if code, said := rotate(newer); code != 0 || !strings.Contains(said, "0 of 3") {
		t.Errorf("again: exit code %d: %s", code, said)
	}
	works(start(t, t.TempDir(), env(newer)...))
	if code, _, errs := run(t, environment(t.TempDir(), env("gcp-kms://projects/p/key")...), "", "keys", "rotate-master"); code != 1 || !strings.Contains(errs, "KMS URI") {
		t.Errorf("a KMS URI: exit code %d: %s", code, errs)
	}
}

// Two processes that start at once on an empty database, with different keys: one serves, the other does not.
func TestProcessesWithDifferentMasterKeysDoNotShareADatabase(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	type started struct {
		service *service
		err     error
	}
	all := make(chan started)
	for _, key := range []string{masterKey(1), masterKey(2)} {
		dir := t.TempDir()
		go func() {
			s, err := launch(dir, "ORDINAVO_DATABASE_URL="+url, "ORDINAVO_MASTER_KEY="+key)
			all <- started{s, err}
		}()
	}
	serve := 0
	for range 2 {
		got := <-all
		switch {
		case got.err == nil:
			serve++
			t.Cleanup(got.service.kill)
		case !strings.Contains(got.err.Error(), "the master key is not the one"):
			t.Error(got.err)
		}
	}
	if serve != 1 {
		t.Errorf("%d of the two serve", serve)
	}
}

// The key file beside SQLite is rotated while no process has it read: the file holds both keys until all is sealed anew.
func TestTheKeyFileIsRotated(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, hook, s := filepath.Join(dir, "master.key"), receive(t, nil), start(t, dir)
	acme := newTenant(t, s)
	sub := acme.subscribe(hook, "*", nil)
	before := read(t, file)
	if code, _, errs := run(t, environment(dir), "", "keys", "rotate-master"); code != 1 || !strings.Contains(errs, "another process serves this database") || read(t, file) != before {
		t.Errorf("beside a service: exit code %d: %s", code, errs)
	}
	s.kill()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := run(t, environment(dir), "", "serve"); code != 1 || !strings.Contains(errs, "the master key is not the one") {
		t.Errorf("without the key file: exit code %d: %s", code, errs)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) { // it would be taken for the one that is missing
		t.Errorf("a key file was made: %v", err)
	}
	if err := os.WriteFile(file, []byte(masterKey(1)+"\n"+before), 0o600); err != nil { // as a rotation leaves it that was killed
		t.Fatal(err)
	}
	s = start(t, dir)
	s.kill()
	if code, out, errs := run(t, environment(dir), "", "keys", "rotate-master"); code != 0 || !strings.Contains(out, "2 of 2 sealed values were sealed anew") {
		t.Fatalf("exit code %d: %s%s", code, out, errs)
	}
	if after := strings.TrimSpace(read(t, file)); after != masterKey(1) {
		t.Error("the file does not hold the new key alone")
	}
	acme.api = acme.api.at(start(t, dir))
	acme.emit(acme.visit("visit_report.approved", nil))
	signedWith(t, hook.wait(1)[0], sub.Secret)
}

// unopened is the statement by which docs/operate.md has what a lost master key sealed deleted.
var unopened = regexp.MustCompile(`\$ psql \S+ -c "([^"]+)"`)

// A master key that is lost costs the signing secrets, of a rotation under way too, and nothing else: what is open is sent, signed with a new one.
func TestALostMasterKeyCostsTheSecretsAlone(t *testing.T) {
	t.Parallel()
	statements := unopened.FindStringSubmatch(read(t, "../../docs/operate.md"))
	if statements == nil {
		t.Fatal("docs/operate.md does not say what to delete")
	}
	for _, kind := range []string{"SQLite", "PostgreSQL"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			db, env := damageable(t, kind, dir)
			s, hook := start(t, dir, append(env, "ORDINAVO_ROLES=api,router")...), receive(t, nil)
			acme := newTenant(t, s)
			sub := acme.subscribe(hook, "*", object{"retrySchedule": slices.Repeat([]string{"1s"}, 20)})
			acme.post("/v1/subscriptions/"+sub.ID+"/rotate-secret", object{"overlapHours": 24}).want(http.StatusOK)
			id := acme.emit(acme.visit("visit_report.approved", nil))
			s.kill()
			if kind == "SQLite" {
				env = []string{"ORDINAVO_MASTER_KEY=" + masterKey(2)}
			} else {
				env[1] = "ORDINAVO_MASTER_KEY=" + masterKey(2)
			}
			if code, _, errs := run(t, environment(dir, env...), "", "serve"); code != 1 || !strings.Contains(errs, "the master key is not the one") {
				t.Errorf("exit code %d: %s", code, errs)
			}
			for statement := range strings.SplitSeq(statements[1], ";") {
				if _, err := db.Exec(statement); err != nil {
					t.Fatal(err)
				}
			}
			acme.api = acme.api.at(start(t, dir, env...))
			renewed := into[subscription](acme.post("/v1/subscriptions/"+sub.ID+"/rotate-secret", object{"overlapHours": 0}).want(http.StatusOK))
			arrived := hook.wait(1)[0]
			signedWith(t, arrived, renewed.Secret)
			if got := arrived.header.Get("X-Ordinavo-Event-Id"); got != id {
				t.Errorf("it is %s, want %s", got, id)
			}
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func signedWith(t *testing.T, a arrival, secret string) {
	t.Helper()
	if a.header.Get("X-Ordinavo-Signature") != bodySignature(secret, a.body) {
		t.Error("it is signed with another secret")
	}
}
