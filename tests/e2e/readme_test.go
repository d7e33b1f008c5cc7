package e2e_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The examples of the README and of docs/operate.md, which goes on from there, are run. The convention:
//   - every fenced block whose info string is exactly sh is run, in order, in one shell session, in an empty
//     directory, against a running service; blocks of commands that are only shown are marked console;
//   - a block marked json or text right behind it (only blank lines and text without a fence between them) is
//     what it must print; … stands for any text, in json "…": "…" for any further keys, in text a line of … for any lines;
//   - a block that only reads (curl without a body or a method) is repeated until it prints that, for a while;
//   - the session has SERVICE_URL and KEY (a platform key), as the README exports them, and RECEIVER_URL, where every
//     POST is answered with 200; no other variable names the service or a key. go run . is the built binary.

// example is one block that is run, with what it must print.
type example struct {
	line           int
	script         string
	kind, expected string
}

func TestREADME(t *testing.T) {
	t.Parallel()
	session := newShell(t)
	for _, page := range []string{"README.md", "docs/operate.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", page))
		if err != nil {
			t.Fatal(err)
		}
		examples := examplesOf(string(text))
		if len(examples) == 0 {
			t.Errorf("checked nothing: %s has no block marked sh", page)
		}
		for _, e := range examples {
			if p, err := session.run(e); err != nil {
				t.Errorf("%s, line %d: %v\n%s\nprinted:\n%s\n%s", page, e.line, err, e.script, p.out, session.errs)
			}
		}
	}
}

// What the README says that one needs is what go.mod asks for.
func TestREADMENamesTheGoThatItNeeds(t *testing.T) {
	module, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	readme, readErr := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err := errors.Join(err, readErr); err != nil {
		t.Fatal(err)
	}
	asked := regexp.MustCompile(`(?m)^go (\S+)`).FindSubmatch(module)
	if asked == nil || !strings.Contains(string(readme), "Go "+string(asked[1])+" or newer") {
		t.Errorf("go.mod asks for Go %s, which the README does not say", asked)
	}
}

// examplesOf finds the blocks that are run.
func examplesOf(markdown string) (found []example) {
	open, kind, from := false, "", 0
	var content strings.Builder
	for i, line := range strings.Split(markdown, "\n") {
		info, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && !open:
			open, kind, from = true, strings.TrimSpace(info), i+1
			content.Reset()
		case isFence:
			open = false
			last := len(found) - 1
			switch {
			case kind == "sh":
				found = append(found, example{line: from, script: content.String()})
			case (kind == "json" || kind == "text") && last >= 0 && found[last].kind == "":
				found[last].kind, found[last].expected = kind, content.String()
			case last >= 0 && found[last].kind == "":
				found[last].kind = "nothing" // another block came between
			}
		case open:
			content.WriteString(line + "\n")
		}
	}
	return found
}

// printed is what one block did.
type printed struct {
	out  string
	code int
	ran  bool
}

// shell is the one session in which all blocks run.
type shell struct {
	t     *testing.T
	in    io.Writer
	lines *bufio.Scanner
	errs  *logBook
	mark  string
}

// newShell starts the session against a service with the settings of the README: the defaults.
func newShell(t *testing.T) *shell {
	t.Helper()
	defaults := []string{"ORDINAVO_RETRY_SCHEDULE=", "ORDINAVO_RATE_LIMIT=", "ORDINAVO_TENANT_RATE_LIMIT="}
	s, hook, dir := start(t, t.TempDir(), defaults...), receive(t, nil), t.TempDir()
	command := exec.CommandContext(t.Context(), "sh")
	command.Dir = dir
	command.Env = append(environment(dir, defaults...), "ORDINAVO_PLATFORM_KEY=", "SERVICE_URL="+s.url, "KEY="+platformKey, "RECEIVER_URL="+hook.url)
	in, err := command.StdinPipe()
	out, outErr := command.StdoutPipe()
	errs := &logBook{}
	command.Stderr = errs
	if err := errors.Join(err, outErr); err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = command.Wait()
	})
	fmt.Fprintf(in, "go() { if [ \"$1 $2\" = 'run .' ]; then shift 2; '%s' \"$@\"; else command go \"$@\"; fi; }\n", binary)
	return &shell{t: t, in: in, lines: bufio.NewScanner(out), errs: errs, mark: "=== " + eventID()}
}

// run runs a block. One that only reads is repeated until it prints what it should: what follows a write takes a moment.
func (s *shell) run(e example) (p printed, err error) {
	err = s.once(e, &p)
	if onlyReads(e.script) && p.ran && err != nil {
		_ = poll(patience, func() bool {
			err = s.once(e, &p)
			return err == nil || !p.ran
		})
	}
	return p, err
}

func (s *shell) once(e example, p *printed) error {
	*p = printed{code: -1}
	fmt.Fprintf(s.in, "{\n%s} </dev/null\nprintf '\\n%s %%d\\n' $?\n", e.script, s.mark)
	for s.lines.Scan() {
		if code, isMark := strings.CutPrefix(s.lines.Text(), s.mark+" "); isMark {
			p.ran = true
			_, err := fmt.Sscan(code, &p.code)
			return errors.Join(err, p.check(e))
		}
		p.out += s.lines.Text() + "\n"
	}
	return p.check(e)
}

var writes = regexp.MustCompile(`\s(-X|--request|-d|--data\S*|--json|-T|-F)\b|\bemit\b`)

func onlyReads(script string) bool {
	return strings.Contains(script, "curl") && !writes.MatchString(script)
}

func (p printed) check(e example) error {
	switch {
	case !p.ran:
		return errors.New("the session ended before it")
	case p.code != 0:
		return fmt.Errorf("exit code %d", p.code)
	case e.kind == "json":
		return sameJSON(e.expected, p.out)
	case e.kind == "text":
		return sameText(e.expected, p.out)
	}
	return nil
}

// sameJSON compares streams of values by what they mean.
func sameJSON(want, got string) error {
	wants, err := values(want)
	if err != nil {
		return fmt.Errorf("the expected block: %w", err)
	}
	gots, err := values(got)
	if err != nil {
		return fmt.Errorf("what was printed is not JSON: %w", err)
	}
	return same("", wants, gots)
}

func values(text string) (all []any, err error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	for {
		var v any
		if err := decoder.Decode(&v); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
}
