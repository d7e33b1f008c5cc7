package cli_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
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
	fail error
	keys keyStore
}

func (d *told) note(format string, args ...any) error {
	d.did = append(d.did, fmt.Sprintf(format, args...))
	return d.fail
}

func (d *told) commands() cli.Commands {
	return cli.Commands{
		Serve:       func(_ context.Context, c config.Config, _ io.Writer) error { return d.note("serve %s", c.Listen) },
		Demo:        func(context.Context, io.Writer) error { return d.note("demo") },
		MigrateUp:   func(context.Context, config.Config) error { return d.note("up") },
		MigrateDown: func(_ context.Context, _ config.Config, n int) error { return d.note("down %d", n) },
		Schema:      func(context.Context, config.Config) (uint, uint, error) { return 3, 4, d.note("schema") },
		Rebuild: map[string]cli.Rebuilder{
			"metrics": func(context.Context, config.Config, func(context.Context, *metrics.Rebuild) error) error {
				return d.note("rebuild metrics")
			},
			"others": nil,
		},
		Keys: func(_ context.Context, c config.Config, run func(context.Context, *access.Keys) error) error {
			if err := d.note("keys of %s", c.Database.Path); err != nil {
				return err
			}
			return run(context.Background(), access.NewKeys(&d.keys, time.Now, func(prefix string) string { return prefix + "1" }, rand.Reader))
		},
		RotateMaster: func(context.Context, config.Config) (reseal.Counts, error) {
			return reseal.Counts{Values: 7, Resealed: 3}, d.note("rotate")
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
