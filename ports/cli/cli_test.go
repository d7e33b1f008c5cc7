package cli_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/reseal"
	"github.com/ordinavo/webhooks/ports/cli"
	"github.com/ordinavo/webhooks/ports/cli/config"
)

// told notes which command was run.
type told struct {
	did  []string
	in   []string // the databases
	fail error
	keys keyStore
}

func (d *told) note(format string, args ...any) error {
	d.did = append(d.did, fmt.Sprintf(format, args...))
	return d.fail
}

// noteIn notes the database, too.
func (d *told) noteIn(c config.Config, format string, args ...any) error {
	d.in = append(d.in, c.Database.Path)
	return d.note(format, args...)
}

func (d *told) commands() cli.Commands {
	return cli.Commands{
		Serve:       func(_ context.Context, c config.Config, _ io.Writer) error { return d.noteIn(c, "serve %s", c.Listen) },
		Demo:        func(context.Context, io.Writer) error { return d.note("demo") },
		MigrateUp:   func(_ context.Context, c config.Config) error { return d.noteIn(c, "up") },
		MigrateDown: func(_ context.Context, c config.Config, n int) error { return d.noteIn(c, "down %d", n) },
		Schema:      func(_ context.Context, c config.Config) (uint, uint, error) { return 3, 4, d.noteIn(c, "schema") },
		Rebuild: map[string]cli.Rebuilder{
			"metrics": func(_ context.Context, c config.Config, _ func(context.Context, *metrics.Rebuild) error) error {
				return d.noteIn(c, "rebuild metrics")
			},
			"others": nil,
		},
		Keys: func(_ context.Context, c config.Config, run func(context.Context, *access.Keys) error) error {
			if err := d.noteIn(c, "keys of %s", c.Database.Path); err != nil {
				return err
			}
			return run(context.Background(), access.NewKeys(&d.keys, time.Now, func(prefix string) string { return prefix + "1" }, rand.Reader))
		},
		RotateMaster: func(_ context.Context, c config.Config) (reseal.Counts, error) {
			return reseal.Counts{Values: 7, Resealed: 3}, d.noteIn(c, "rotate")
		},
		Build: func() (string, string, string) { return "1.2.3", "abc", "4 (SQLite), 3 (PostgreSQL)" },
	}
}

func run(d *told, environ []string, args ...string) (code int, out, errs string) {
	var stdout, stderr bytes.Buffer
	code = cli.Main(context.Background(), args, environ, cli.Streams{In: strings.NewReader(""), Out: &stdout, Err: &stderr}, d.commands())
	return code, stdout.String(), stderr.String()
}

func TestCommands(t *testing.T) {
	for line, c := range map[string]struct {
		did  string
		code int
		out  string // is part of it
		errs string
	}{
		"serve":                            {"serve 127.0.0.1:8080", 0, "", ""},
		"serve --listen 127.0.0.1:9":       {"serve 127.0.0.1:9", 0, "", ""},
		"demo":                             {"demo", 0, "", ""},
		"version":                          {"", 0, "ordinavo-webhooks 1.2.3, commit abc, schema 4 (SQLite), 3 (PostgreSQL)\n", ""},
		"help":                             {"", 0, "migrate down N", ""},
		"-h":                               {"", 0, "--listen", ""},
		"serve --help":                     {"", 0, "settings of emit", ""},
		"migrate up":                       {"up,schema", 0, "schema version 3 of 4\n", ""},
		"migrate down 2":                   {"down 2,schema", 0, "schema version 3 of 4\n", ""},
		"migrate status":                   {"schema", 0, "schema version 3 of 4\n", ""},
		"migrate":                          {"", 2, "", "migrate takes up, down N or status"},
		"migrate up now":                   {"", 2, "", "up, down N or status"},
		"migrate down":                     {"", 2, "", "up, down N or status"},
		"migrate down 0":                   {"", 2, "", `not "0"`},
		"migrate down all":                 {"", 2, "", `not "all"`},
		"migrate down 9999999999999999999": {"", 2, "", `not "9999999999999999999"`},
		"migrate sideways":                 {"", 2, "", "up, down N or status"},
		"rebuild metrics":                  {"rebuild metrics", 0, "", ""},
		"rebuild":                          {"", 2, "", "rebuild takes the name of a projection; there is metrics, others"},
		"rebuild deliveries":               {"", 2, "", `no projection "deliveries" to rebuild; there is metrics, others`},
		"keys":                             {"", 2, "", "keys takes create, list, revoke ID or rotate-master"},
		"keys fly":                         {"", 2, "", "create, list, revoke ID or rotate-master"},
		"keys revoke":                      {"", 2, "", "create, list, revoke ID or rotate-master"},
		"keys rotate-master":               {"rotate", 0, "3 of 7 sealed values were sealed anew", ""},
		"keys rotate-master now":           {"", 2, "", "create, list, revoke ID or rotate-master"},
		"keys create --name":               {"", 2, "", "--name needs a value"},
		"keys create --tenant=":            {"", 2, "", "--tenant needs a value"},
		"keys create --tenant= acme":       {"", 2, "", "--tenant needs a value"},
		"keys create --name --scopes all":  {"", 2, "", "--name needs a value"},
		"keys list --tenant a --tenant b":  {"", 2, "", "--tenant is given twice"},
		"keys create --expires soon":       {"", 1, "", "--expires must be a period like 90d"},
		"keys create --expires -1h":        {"", 1, "", "--expires must be a period like 90d"},
		"keys create --colour red":         {"", 1, "", "--colour is not a flag"},
		"keys create --name x":             {"keys of data/ordinavo.db", 1, "", "scopes: needs at least one scope: events.write, events.read, "},
		"keys create --name x --scopes y":  {"keys of data/ordinavo.db", 1, "", "scopes[0]: is not a scope: there are events.write, events.read, "},
		"keys revoke key_9":                {"keys of data/ordinavo.db", 1, "", "no such key"},
		"serve --name x":                   {"", 1, "", "--name is not a flag"},
		"":                                 {"", 2, "", "which command?"},
		"fly":                              {"", 2, "", "unknown command: fly"},
		"serve now":                        {"", 2, "", "serve takes flags alone, not: now"},
		"emit":                             {"", 2, "", "emit takes one FILE, or - for its input"},
		"emit a b":                         {"", 2, "", "emit takes one FILE, or - for its input"},
		"emit -":                           {"", 1, "", "emit needs a key"},
		"serve --max-in-flight 0":          {"", 1, "", "max-in-flight"},
		"emit /nowhere/there/is/no/file.x": {"", 1, "", "no such file"},
	} {
		t.Run(line, func(t *testing.T) {
			d := &told{}
			code, out, errs := run(d, nil, strings.Fields(line)...)
			if code != c.code || strings.Join(d.did, ",") != c.did {
				t.Errorf("code %d, did %v", code, d.did)
			}
			if !strings.Contains(out, c.out) || !strings.Contains(errs, c.errs) || c.errs == "" && errs != "" {
				t.Errorf("printed %q and %q", out, errs)
			}
			if usage := strings.Contains(errs, "ordinavo-webhooks: signed"); usage != (code == 2) {
				t.Errorf("the usage is shown: %t", usage)
			}
		})
	}
}

// What a command does to the database of the default settings cannot be taken back.
func TestACommandWorksOnTheDatabaseThatIsSet(t *testing.T) {
	for _, line := range []string{"serve", "migrate up", "migrate down 1", "migrate status", "rebuild metrics", "keys list", "keys create --name x --scopes all", "keys revoke key_1", "keys rotate-master"} {
		d := &told{}
		run(d, []string{"ORDINAVO_DATABASE_URL=sqlite:set.db"}, strings.Fields(line)...)
		if len(d.in) == 0 || slices.ContainsFunc(d.in, func(path string) bool { return path != "set.db" }) {
			t.Errorf("%s: did %q in %q", line, d.did, d.in)
		}
	}
}

// What emit sends to, and with which key, is what docs/operate.md says.
func TestEmitFindsItsServiceAndItsKey(t *testing.T) {
	var asked string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.Host + r.URL.Path + " " + r.Header.Get("Authorization")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"results": [{"status": "accepted"}]}`)
	}))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	listen, platform := "ORDINAVO_LISTEN="+address, "ORDINAVO_PLATFORM_KEY=ord_live_of_the_platform"
	for name, c := range map[string]struct {
		environ, args []string
		key           string
	}{
		"its own settings":    {[]string{"ORDINAVO_LISTEN=127.0.0.1:1", "ORDINAVO_URL=" + server.URL, platform, "ORDINAVO_TOKEN=token"}, nil, "token"},
		"the service's":       {[]string{listen, platform}, nil, "ord_live_of_the_platform"},
		"flags before either": {[]string{listen, "ORDINAVO_URL=http://127.0.0.1:1", platform, "ORDINAVO_TOKEN=token"}, []string{"--url", server.URL, "--key=flag"}, "flag"},
	} {
		asked = ""
		var out, errs bytes.Buffer
		streams := cli.Streams{In: strings.NewReader(`{"eventId": "evt_1"}`), Out: &out, Err: &errs}
		code := cli.Main(t.Context(), append([]string{"emit", "-"}, c.args...), c.environ, streams, cli.Commands{})
		if code != 0 || asked != "POST "+address+"/v1/events Bearer "+c.key || out.String() != "1 accepted, 0 duplicates\n" {
			t.Errorf("%s: code %d, asked %q, printed %q and %q", name, code, asked, &out, &errs)
		}
	}
}

// A script goes on behind code 0.
func TestEventsThatAreRefusedAreCode1(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	var out, errs bytes.Buffer
	streams := cli.Streams{In: strings.NewReader(`{"eventId": "evt_1"}`), Out: &out, Err: &errs}
	code := cli.Main(t.Context(), []string{"emit", "-", "--url", server.URL, "--key", "ord_live_x"}, nil, streams, cli.Commands{})
	if code != 1 || !strings.Contains(errs.String(), "404") || out.String() != "0 accepted, 0 duplicates\n" {
		t.Errorf("code %d, printed %q and %q", code, &out, &errs)
	}
}

func TestFailuresAreCode1(t *testing.T) {
	for _, line := range []string{"serve", "demo", "migrate up", "migrate down 1", "migrate status", "rebuild metrics", "keys list", "keys rotate-master"} {
		d := &told{fail: errors.New("the disk is full")}
		code, out, errs := run(d, nil, strings.Fields(line)...)
		if code != 1 || errs != "error: the disk is full\n" || out != "" || len(d.did) != 1 {
			t.Errorf("%s: code %d, did %v, printed %q and %q", line, code, d.did, out, errs)
		}
	}
}

func TestAnUnknownVariableStopsTheStart(t *testing.T) {
	d := &told{}
	code, _, errs := run(d, []string{"ORDINAVO_LISTN=x"}, "serve")
	if code != 1 || !strings.Contains(errs, "ORDINAVO_LISTN") || len(d.did) != 0 {
		t.Errorf("code %d, did %v: %s", code, d.did, errs)
	}
}

// A service that failed ends, though nobody reads why: whatever starts it anew waits for that.
func TestAFailureWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read, write := io.Pipe() // which is as good as full
		do := &told{fail: errors.New("the disk is gone")}
		if code := cli.Main(t.Context(), []string{"serve"}, nil, cli.Streams{Err: write}, do.commands()); code != 1 {
			t.Errorf("exit code %d", code)
		}
		_ = read.Close()
	})
}
