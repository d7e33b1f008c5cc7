package e2e_test

import (
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/migrations"

	_ "modernc.org/sqlite" // the driver, to look into the file as nobody should
)

// Contract, section 6: an unknown variable and a value out of range stop the start with a message that names them.
func TestWhatStopsTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []struct {
		variable string
		names    []string
	}{
		{"ORDINAVO_LISTN=127.0.0.1:1", []string{"ORDINAVO_LISTN", "did you mean ORDINAVO_LISTEN"}},
		{"ORDINAVO_LISTEN=nowhere", []string{"ORDINAVO_LISTEN"}},
		{"ORDINAVO_DATABASE_URL=mysql://x", []string{"ORDINAVO_DATABASE_URL"}},
		{"ORDINAVO_PLATFORM_KEY=short", []string{"ORDINAVO_PLATFORM_KEY"}},
		{"ORDINAVO_MASTER_KEY=short", []string{"ORDINAVO_MASTER_KEY"}},
		{"ORDINAVO_ROLES=cook", []string{"ORDINAVO_ROLES", "cook"}},
		{"ORDINAVO_EGRESS_ALLOW=10.0.0.0/99", []string{"ORDINAVO_EGRESS_ALLOW"}},
		{"ORDINAVO_EGRESS_PORTS=70000", []string{"ORDINAVO_EGRESS_PORTS"}},
		{"ORDINAVO_RETRY_SCHEDULE=soon", []string{"ORDINAVO_RETRY_SCHEDULE", "soon"}},
		{"ORDINAVO_MAX_IN_FLIGHT=0", []string{"ORDINAVO_MAX_IN_FLIGHT"}},
		{"ORDINAVO_RATE_LIMIT=-1", []string{"ORDINAVO_RATE_LIMIT"}},
		{"ORDINAVO_RETENTION=events=0d", []string{"ORDINAVO_RETENTION"}},
		{"ORDINAVO_SHUTDOWN_TIMEOUT=0s", []string{"ORDINAVO_SHUTDOWN_TIMEOUT"}},
		{"ORDINAVO_LOG_LEVEL=loud", []string{"ORDINAVO_LOG_LEVEL"}},
		{"ORDINAVO_AUTO_MIGRATE=perhaps", []string{"ORDINAVO_AUTO_MIGRATE"}},
	} {
		code, _, stderr := run(t, environment(dir, c.variable), "", "serve")
		if code != 1 {
			t.Errorf("%s: exit code %d: %s", c.variable, code, stderr)
		}
		for _, name := range c.names {
			if !strings.Contains(stderr, name) {
				t.Errorf("%s: no %q in %s", c.variable, name, stderr)
			}
		}
	}
	if _, err := os.Stat(databasePath(dir)); err == nil {
		t.Error("a database was made all the same")
	}
	code, _, stderr := run(t, environment(dir), "", "serve", "--listen", "nowhere")
	if code != 1 || !strings.Contains(stderr, "--listen") {
		t.Errorf("a flag: exit code %d: %s", code, stderr)
	}
}

// The key file is made for its owner alone, and must open what was sealed with it.
func TestTheMasterKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	newTenant(t, s).subscribe(receive(t, nil), "*", nil)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "master.key")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file: %v, %v", info.Mode(), err)
	}
	other := make([]byte, 32)
	_, _ = rand.Read(other)
	for name, content := range map[string]string{"nonsense": "nonsense", "another key": base64.StdEncoding.EncodeToString(other)} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(content+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			refused, err := launch(dir)
			if err == nil {
				refused.kill()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), "master") || strings.Contains(err.Error(), content) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func alter(t *testing.T, dir, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", databasePath(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

// A schema that is newer than the binary's stops the start, and is left as it is.
func TestANewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run(t, environment(dir), "", "migrate", "up")
	alter(t, dir, "UPDATE schema_migrations SET version = 9999")
	for _, args := range [][]string{{"serve"}, {"migrate", "up"}} {
		code, _, stderr := run(t, environment(dir), "", args...)
		if code != 1 || !strings.Contains(stderr, "newer than this binary") {
			t.Errorf("%v: exit code %d: %s", args, code, stderr)
		}
	}
}

// schemaVersions is 0 and those of the migrations, in their order.
func schemaVersions(t *testing.T) []int {
	t.Helper()
	files, err := fs.Glob(migrations.SQLite, "sqlite/*.up.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("no migrations: %v", err)
	}
	versions := []int{0}
	for _, file := range files { // sorted
		number, _, _ := strings.Cut(path.Base(file), "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, version)
	}
	return versions
}

// In a folder where serve does not run, a command says so and leaves nothing behind; migrate up makes a database, as serve does.
func TestACommandInTheWrongFolder(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"keys", "list"}, {"keys", "create", "--name", "k", "--scopes", "all"}, {"keys", "revoke", "key_1"}, {"keys", "rotate-master"},
		{"migrate", "status"}, {"migrate", "down", "1"}, {"rebuild", "metrics"}} {
		dir := t.TempDir()
		path := filepath.Join(dir, "data", "ordinavo.db")
		code, _, stderr := run(t, environment(dir, "ORDINAVO_DATABASE_URL=sqlite:"+path), "", args...)
		if want := "error: no database at " + path + ": run this where serve runs, or set ORDINAVO_DATABASE_URL\n"; code != 1 || stderr != want {
			t.Errorf("%v: exit code %d: %s", args, code, stderr)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%v leaves %v, %v", args, left, err)
		}
	}
	dir := t.TempDir()
	if code, out, stderr := run(t, environment(dir), "", "migrate", "up"); code != 0 {
		t.Errorf("migrate up: exit code %d: %s%s", code, out, stderr)
	}
	if _, err := os.Stat(databasePath(dir)); err != nil {
		t.Error(err)
	}
}

// migrate goes up, down and says where it is; serve does without when it is told to.
func TestMigrate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := environment(dir, "ORDINAVO_AUTO_MIGRATE=false")
	says := func(form string, args ...string) {
		t.Helper()
		code, out, stderr := run(t, env, "", append([]string{"migrate"}, args...)...)
		if code != 0 || !regexp.MustCompile(form).MatchString(out) {
			t.Errorf("migrate %v: exit code %d: %s%s", args, code, out, stderr)
		}
	}
	code, _, stderr := run(t, env, "", "serve")
	if code != 1 || !strings.Contains(stderr, "migrate up") {
		t.Errorf("serve without a schema: exit code %d: %s", code, stderr)
	}
	says(`^schema version 0 of \d+\n$`, "status")
	versions := schemaVersions(t)
	newest := len(versions) - 1
	at := func(i int) string { return fmt.Sprintf(`^schema version %d of %d\n$`, versions[i], versions[newest]) }
	says(at(newest), "up")
	says(at(newest-1), "down", "1")
	says(at(0), "down", strconv.Itoa(newest-1)) // all that are left
	says(at(newest), "up")
	s := start(t, dir, "ORDINAVO_AUTO_MIGRATE=false")
	s.platform(t).get("/readyz").want(http.StatusOK)
	for _, args := range [][]string{{"migrate"}, {"migrate", "down", "x"}, {"migrate", "down", "0"}, {"nonsense"}, {}, {"serve", "twice"}} {
		if code, _, stderr := run(t, env, "", args...); code != 2 || !strings.Contains(stderr, "demo") {
			t.Errorf("%v: exit code %d: %s", args, code, stderr)
		}
	}
}

func TestVersionAndHelp(t *testing.T) {
	t.Parallel()
	if code, out, _ := run(t, environment(t.TempDir()), "", "version"); code != 0 || !regexp.MustCompile(`^ordinavo-webhooks \d+\.\d+\.\d+, commit \S+, schema \d+ \(SQLite\), \d+ \(PostgreSQL\)\n$`).MatchString(out) {
		t.Errorf("exit code %d: %s", code, out)
	}
	if code, out, _ := run(t, environment(t.TempDir()), "", "help"); code != 0 || !strings.Contains(out, "ORDINAVO_LISTEN") || !strings.Contains(out, "OTEL_EXPORTER_OTLP_ENDPOINT") {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// Without ORDINAVO_PLATFORM_KEY one is made and shown once, at the first start alone.
func TestTheFirstPlatformKeyIsShownOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir, "ORDINAVO_PLATFORM_KEY=")
	eventually(t, "the key is shown", func() bool { return s.log.says("ord_live_") })
	key := regexp.MustCompile(`ord_live_[A-Za-z0-9_-]+`).FindString(s.log.String())
	s.platform(t).withKey(key).get("/v1/tenants").want(http.StatusOK)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	again := start(t, dir, "ORDINAVO_PLATFORM_KEY=")
	again.platform(t).withKey(key).get("/v1/tenants").want(http.StatusOK)
	if again.log.says("ord_live_") {
		t.Error("a key is shown at the second start")
	}
}

// The first line names the address, which may have a port that nobody chose (contract, section 6); the key is not made again. Both are shown
// whatever is logged else.
func TestTheAddressAndTheFirstPlatformKeyAreShownWhateverIsLogged(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir(), "ORDINAVO_PLATFORM_KEY=", "ORDINAVO_LOG_LEVEL=error")
	eventually(t, "the key is shown", func() bool { return s.log.says("ord_live_") })
	lines := strings.Split(strings.TrimSpace(s.log.String()), "\n")
	if address := strings.TrimPrefix(s.url, "http://"); len(lines) != 2 || !strings.Contains(lines[0], `"address":"`+address+`"`) || !strings.Contains(lines[1], "ord_live_") {
		t.Errorf("it logs %q", lines)
	}
}

// A platform key that was revoked stays so, although the variable has it still; the log says why nothing opens.
func TestARevokedPlatformKeyIsToldOf(t *testing.T) {
	t.Parallel()
	const told = "ORDINAVO_PLATFORM_KEY was revoked"
	dir := t.TempDir()
	s := start(t, dir)
	own := into[struct{ Data []struct{ ID string } }](s.platform(t).get("/v1/api-keys").want(http.StatusOK)).Data
	if len(own) != 1 || s.log.says(told) {
		t.Fatalf("the keys are %+v, and the log says: %s", own, s.log)
	}
	s.platform(t).do(http.MethodDelete, "/v1/api-keys/"+own[0].ID, nil).want(http.StatusNoContent)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	again := start(t, dir)
	again.platform(t).get("/v1/tenants").want(http.StatusUnauthorized)
	eventually(t, "the log tells of the revoked key", func() bool { return again.log.says(told) })
}

// Where no authority is known, as in a container without their package, each receiver would be told of a certificate that nobody trusts.
func TestAMachineWithoutAuthoritiesIsNamed(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	s := start(t, t.TempDir(), "SSL_CERT_FILE="+missing, "SSL_CERT_DIR="+missing)
	if err := poll(patience, func() bool { return s.log.says("ca-certificates") }); err != nil {
		t.Error(err)
	}
	if first, _, _ := strings.Cut(s.log.String(), "\n"); !strings.Contains(first, "listening") {
		t.Errorf("the first line is %s", first)
	}
}
