// Package cli is the command line (contract, section 6).
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/application/reseal"
	"github.com/ordinavo/webhooks/ports/cli/config"
)

// Commands is what the command line drives; main wires it.
type Commands struct {
	// Serve runs the service until ctx ends, then drains.
	Serve func(ctx context.Context, c config.Config, logs io.Writer) error
	// Demo shows the service to a newcomer and checks what it shows.
	Demo        func(ctx context.Context, out io.Writer) error
	MigrateUp   func(ctx context.Context, c config.Config) error
	MigrateDown func(ctx context.Context, c config.Config, steps int) error
	// Schema is the database's schema version and the newest that this binary knows.
	Schema func(ctx context.Context, c config.Config) (current, newest uint, err error)
	// Rebuild has the projections that can be rebuilt from the log, by name.
	Rebuild map[string]Rebuilder
	// Keys gives access to API keys, for operators without one at hand.
	Keys KeyUser
	// RotateMaster seals everything at rest with the newest master key.
	RotateMaster func(ctx context.Context, c config.Config) (reseal.Counts, error)
	// Build is the version, the commit and the schema versions of this binary: each database counts its own.
	Build func() (version, commit, schema string)
}

// Streams are the process's own.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

const usage = `ordinavo-webhooks: signed webhooks for every tenant

  demo                    the newcomer's first minute: shows what it does and checks it
  serve                   the service
  migrate up              bring the database's schema up to date
  migrate down N          take the last N migrations back
  migrate status          say which schema version the database has
  keys create --name N --scopes S,S | all [--tenant T] [--subscription ID] [--expires 90d]
                          make an API key and show it once; without a tenant it is the platform's
  keys list [--tenant T]  what keys there are, who they are for, and when they were used last
  keys revoke ID          end a key
  keys rotate-master      seal what is sealed at rest with the newest master key
  emit FILE | -           send events (JSON, NDJSON) to a running service
  rebuild NAME            count a projection (metrics) anew from the log, beside the live one
  version                 version, commit and schema version
  help                    this text, and the settings

`

// others are variables that libraries and Go itself read.
const others = `
variables that are not this service's own:

  OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME and the others of OpenTelemetry
        where traces and metrics go, and what they say of this process (default: /metrics alone)
  GOMEMLIMIT, GOGC
        how much memory the process may use, and how much garbage it leaves (default: four fifths of what a container allows; by the heap's size)
`

// errUsage marks a wrong command line.
var errUsage = errors.New("usage")

// Main runs one command and returns the process's exit code: 0, 1 for a failure, 2 for wrong usage.
func Main(ctx context.Context, args, environ []string, s Streams, do Commands) int {
	err := run(ctx, args, environ, s, do)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintf(s.Err, "%s\n\n%s", strings.TrimPrefix(err.Error(), errUsage.Error()+": "), usage)
		return 2
	default:
		tell(s.Err, fmt.Sprintln("error:", err))
		return 1
	}
}

// lastWord is how long the reason of a failure waits for whoever reads it. Behind a full pipe a service that has failed would stay for good,
// and whatever starts it anew would not know.
const lastWord = time.Second

func tell(w io.Writer, text string) {
	told := make(chan struct{})
	go func() {
		defer close(told)
		_, _ = io.WriteString(w, text) // there is nobody else to tell
	}()
	select {
	case <-told:
	case <-time.After(lastWord):
	}
}

func run(ctx context.Context, args, environ []string, s Streams, do Commands) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: which command?", errUsage)
	}
	switch args[0] {
	case "help", "-h", "--help":
		fmt.Fprint(s.Out, usage, "settings, a flag or a variable each:\n\n", config.Usage(false), "\nsettings of emit:\n\n", config.Usage(true), others)
		return nil
	case "version":
		version, commit, schema := do.Build()
		fmt.Fprintf(s.Out, "ordinavo-webhooks %s, commit %s, schema %s\n", version, commit, schema)
		return nil
	case "demo":
		return do.Demo(ctx, s.Out)
	}
	words, wanted := args[1:], wantedKey{}
	if args[0] == "keys" {
		var err error
		if words, err = takeFlags(words, wanted.flags()); err != nil {
			return err
		}
	}
	c, rest, err := config.Load(words, environ)
	if errors.Is(err, config.ErrHelp) {
		return run(ctx, []string{"help"}, environ, s, do)
	}
	if err != nil {
		return err
	}
	switch {
	case args[0] == "serve" && len(rest) > 0:
		return fmt.Errorf("%w: serve takes flags alone, not: %s", errUsage, strings.Join(rest, " "))
	case args[0] == "serve":
		return do.Serve(ctx, c, s.Err)
	case args[0] == "emit" && len(rest) != 1:
		return fmt.Errorf("%w: emit takes one FILE, or - for its input", errUsage)
	case args[0] == "emit":
		return Emit(ctx, rest[0], s, serviceURL(c), serviceKey(c))
	case args[0] == "rebuild":
		return rebuild(ctx, c, strings.Join(rest, " "), s, do.Rebuild)
	case args[0] == "keys":
		return keys(ctx, c, rest, wanted, s, do)
	case args[0] == "migrate":
		return migrate(ctx, c, rest, s.Out, do)
	default:
		return fmt.Errorf("%w: unknown command: %s", errUsage, strings.Join(args, " "))
	}
}

func serviceURL(c config.Config) string {
	if c.Client.URL != "" {
		return c.Client.URL
	}
	return "http://" + c.Listen
}

func serviceKey(c config.Config) string {
	if key := c.Client.Key.Reveal(); key != "" {
		return key
	}
	return c.PlatformKey.Reveal()
}

func migrate(ctx context.Context, c config.Config, words []string, out io.Writer, do Commands) error {
	var err error
	switch {
	case len(words) == 1 && words[0] == "up":
		err = do.MigrateUp(ctx, c)
	case len(words) == 2 && words[0] == "down":
		steps, parseErr := strconv.Atoi(words[1])
		if parseErr != nil || steps < 1 {
			return fmt.Errorf("%w: migrate down needs a whole number of steps from 1 on, not %q", errUsage, words[1])
		}
		err = do.MigrateDown(ctx, c, steps)
	case len(words) == 1 && words[0] == "status":
	default:
		return fmt.Errorf("%w: migrate takes up, down N or status", errUsage)
	}
	if err != nil {
		return err
	}
	current, newest, err := do.Schema(ctx, c)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "schema version %d of %d\n", current, newest)
	return nil
}
