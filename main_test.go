package main

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	stdlog "log"
	"log/slog"
	"net"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/database"
	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/adapters/seal"
	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/adapters/telemetry"
	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/ports/cli/config"
	"github.com/ordinavo/webhooks/ports/rest"
)

// patience bounds a wait for something that is to happen; nothing is timed by it.
const patience = 90 * time.Second

// A loop that nobody starts is a service that looks well and forgets something. So every loop of the
// application, found in its source, is among those that the assembled service repeats.
func TestEveryLoopOfTheApplicationIsStarted(t *testing.T) {
	declared, steps := loopsOfTheApplication(t)
	if len(declared) < 6 || len(steps) < 8 {
		t.Fatalf("found too few loops in the source to prove anything: %v, %v", declared, steps)
	}
	s := assembled(t)
	var names, runs []string
	stepped := make(chan string, 1000)
	for _, list := range [][]loop.Loop{s.Intake, s.Loops} {
		for i, l := range list {
			names = append(names, l.Name)
			runs = append(runs, stepName(l.Step))
			list[i].Step = func(ctx context.Context) (time.Time, error) {
				select {
				case stepped <- l.Name:
				default:
				}
				return l.Step(ctx)
			}
		}
	}
	for _, name := range declared {
		if !slices.Contains(names, name) {
			t.Errorf("the loop %q is not among %v", name, names)
		}
	}
	slices.Sort(runs)
	if !slices.Equal(runs, steps) {
		t.Errorf("the service repeats\n%s\nand the application has the steps\n%s", strings.Join(runs, "\n"), strings.Join(steps, "\n"))
	}

	ctx, stop := context.WithCancel(t.Context())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx, listener) }()
	missing := slices.Clone(names)
	for limit := time.After(patience); len(missing) > 0; {
		select {
		case name := <-stepped:
			missing = slices.DeleteFunc(missing, func(n string) bool { return n == name })
		case <-limit:
			t.Errorf("these never took a step: %v", missing)
			missing = nil
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Who accepts events shares the bound of open deliveries with who lives, so each says so, whatever it does; and only who
// sends takes over.
func TestEveryProcessSaysThatItLives(t *testing.T) {
	for _, role := range []string{"api", "router", "dispatcher"} {
		var names []string
		for _, l := range assembled(t, "--roles", role).Loops {
			names = append(names, l.Name)
		}
		if !slices.Contains(names, "heartbeat") || slices.Contains(names, "takeover") != (role == "dispatcher") {
			t.Errorf("as %s it repeats %v", role, names)
		}
	}
}

// Much may be left out without harm to what is tested below this: an alert, a log line, or a cache.
func TestNothingIsLeftUnwired(t *testing.T) {
	s := assembled(t, "--shutdown-delay", "1s")
	for name, part := range map[string]any{"the process": s.Process, "its attempts": *s.Attempter, "its API": s.Server.(*rest.API).Dependencies} {
		for field, value := range reflect.ValueOf(part).Fields() {
			if field.IsExported() && field.Name != "ProbesOnly" && value.IsZero() {
				t.Errorf("%s: %s is left out", name, field.Name)
			}
		}
	}
	if _, kept := s.Attempter.Secrets.(*seal.Cache); !kept { // a secret is opened for the first of its attempts, not for each
		t.Errorf("attempts take secrets from a %T", s.Attempter.Secrets)
	}
}

// assembled is the service as serve makes it, on a database of its own.
func assembled(t *testing.T, flags ...string) *service {
	t.Helper()
	flags = append(flags, "--listen", "127.0.0.1:0", "--database-url", "sqlite:"+filepath.Join(t.TempDir(), "main.db"), "--platform-key", "ord_live_a-key-for-this-test")
	c, _, err := config.Load(flags, nil)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	db, err := openDatabase(t.Context(), c, log, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := database.Prepare(db, true); err != nil {
		t.Fatal(err)
	}
	tel, err := telemetry.Start(t.Context(), telemetry.Config{Version: version, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	s, err := assemble(t.Context(), c, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}, db, tel, log)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stopper is a log at whose first line the process is told to stop.
type stopper struct {
	strings.Builder
	stop context.CancelFunc
}

func (s *stopper) Write(line []byte) (int, error) {
	s.stop()
	return s.Builder.Write(line)
}

// onFile is the configuration of a service of its own, which may replace the default logs.
func onFile(t *testing.T) config.Config {
	t.Helper()
	before, others := slog.Default(), stdlog.Writer()
	t.Cleanup(func() { slog.SetDefault(before); stdlog.SetOutput(others) })
	c, _, err := config.Load([]string{"--listen", "127.0.0.1:0", "--database-url", "sqlite:" + filepath.Join(t.TempDir(), "main.db")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Whoever waits for the line that says "listening" may tell the process to stop before it has made its first key.
func TestAStopDuringTheStartIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := &stopper{stop: cancel}
	if err := serve(ctx, onFile(t), log); err != nil || !strings.Contains(log.String(), "listening") || !strings.Contains(log.String(), "stopped") {
		t.Errorf("it ended with %v:\n%s", err, log)
	}
}

// unread is a log whose reader is gone.
type unread struct{}

var errUnread = errors.New("nobody reads it")

func (unread) Write([]byte) (int, error) { return 0, errUnread }

// The first key is shown once: where it could not be, the start fails.
func TestAFirstKeyThatCannotBeShownIsAFailure(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := serve(ctx, onFile(t), unread{}); !errors.Is(err, errUnread) {
		t.Errorf("it ended with %v", err)
	}
}

// stepName is the method behind a step, like access.(*Keys).TouchStep.
func stepName(step loop.Step) string {
	name := strings.TrimSuffix(runtime.FuncForPC(reflect.ValueOf(step).Pointer()).Name(), "-fm")
	return name[strings.LastIndexByte(name, '/')+1:]
}

// loopsOfTheApplication reads the source: the names in literals of loop.Loop, and every exported method
// that has the form of a step.
func loopsOfTheApplication(t *testing.T) (names, steps []string) {
	t.Helper()
	err := filepath.WalkDir("application", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				names = append(names, namesIn(n)...)
			case *ast.FuncDecl:
				if isStep(n) {
					steps = append(steps, file.Name.Name+".("+receiver(n)+")."+n.Name.Name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(steps)
	return names, steps
}

// namesIn is the names of the loops that a literal of loop.Loop or []loop.Loop holds.
func namesIn(literal *ast.CompositeLit) (names []string) {
	switch of := literal.Type.(type) {
	case *ast.SelectorExpr:
		if text(of) != "loop.Loop" {
			return nil
		}
		for _, element := range literal.Elts {
			pair, ok := element.(*ast.KeyValueExpr)
			if !ok || text(pair.Key) != "Name" {
				continue
			}
			if value, ok := pair.Value.(*ast.BasicLit); ok {
				if name, err := strconv.Unquote(value.Value); err == nil {
					names = append(names, name)
				}
			}
		}
	case *ast.ArrayType:
		for _, element := range literal.Elts {
			if inner, ok := element.(*ast.CompositeLit); ok && inner.Type == nil {
				names = append(names, namesIn(&ast.CompositeLit{Type: of.Elt, Elts: inner.Elts})...)
			}
		}
	}
	return names
}

// isStep reports whether an exported method is func(context.Context) (time.Time, error).
func isStep(f *ast.FuncDecl) bool {
	in, out := f.Type.Params, f.Type.Results
	return f.Recv != nil && f.Name.IsExported() && in.NumFields() == 1 && out.NumFields() == 2 && len(out.List) == 2 &&
		text(in.List[0].Type) == "context.Context" && text(out.List[0].Type) == "time.Time" && text(out.List[1].Type) == "error"
}

func receiver(f *ast.FuncDecl) string { return text(f.Recv.List[0].Type) }

// text is the expression as it is written, as far as these need it.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return text(e.X) + "." + e.Sel.Name
	case *ast.StarExpr:
		return "*" + text(e.X)
	default:
		return ""
	}
}

// Each database counts its own migrations.
func TestVersionNamesTheSchemaOfEachDatabase(t *testing.T) {
	release, _, got := build()
	if want := fmt.Sprintf("%d (SQLite), %d (PostgreSQL)", sqlite.NewestSchema(), postgres.NewestSchema()); release != version || got != want {
		t.Errorf("%s with the schemas %s, want %s with %s", release, got, version, want)
	}
}
