package faults_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// row is a line of the report's table. The report is its own memory: what a run leaves out stays as an earlier one wrote it.
type row struct {
	scenario, on     string
	form, day        string // how much of it was run, and when (UTC)
	does, invariants string
	figures          string
	took             string
}

const columns = 8

func (r row) cells() [columns]string {
	return [columns]string{r.scenario, r.on, r.form, r.day, r.does, r.invariants, r.figures, r.took}
}

func (r row) String() string {
	cells := r.cells()
	for i, cell := range cells {
		cells[i] = strings.TrimSpace(strings.NewReplacer("|", "/", "\n", " ").Replace(cell))
	}
	return "| " + strings.Join(cells[:], " | ") + " |\n"
}

// notRun is the form of what no run has noted yet.
const notRun = "not run"

// always is what check asks of every scenario; where clocks move it leaves out when attempts were due.
const (
	always     = "I1 to I5, I7 to I10"
	clocksMove = "I1 to I4, I7 to I10"
)

func rowOf(s scenario, k kind, figures string, began time.Time) row {
	r := row{scenario: s.name, on: string(k), form: form(), day: began.UTC().Format(time.DateOnly), does: s.does, invariants: always, figures: figures}
	if s.clocksMove {
		r.invariants = clocksMove
	}
	if s.invariants != "" {
		r.invariants += ", " + s.invariants
	}
	r.took = fmt.Sprintf("%.0f s", time.Since(began).Seconds())
	return r
}

// form says how much of the full form a run is.
func form() string {
	if !*full {
		return "short"
	}
	form := fmt.Sprintf("%g", *length)
	if *kills > 0 {
		form += fmt.Sprintf(", %d kills a hop", *kills)
	}
	return form
}

// rowsOf reads a report back.
func rowsOf(report string) (all []row) {
	for line := range strings.Lines(report) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| ") || !strings.HasSuffix(line, " |") {
			continue
		}
		cells := strings.Split(line[2:len(line)-2], " | ")
		if len(cells) == columns {
			all = append(all, row{cells[0], cells[1], cells[2], cells[3], cells[4], cells[5], cells[6], cells[7]})
		}
	}
	return all
}

var noting sync.Mutex

// note writes a row into the report at path. Whoever kills the run then finds the report before it or after it.
func note(t *testing.T, path string, fresh row) {
	noting.Lock()
	defer noting.Unlock()
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
		return
	}
	after := merged(slices.Concat(killScenarios, otherScenarios), string(before), fresh)
	if err = os.WriteFile(path+".new", []byte(after), 0o644); err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		t.Error(err)
	}
}

// merged is the report with a fresh row: the scenarios in their order, each as it was run last. What is no scenario any more is gone.
func merged(all []scenario, before string, fresh row) string {
	known := append(rowsOf(before), fresh)
	var rows []row
	for _, s := range all {
		for _, k := range s.on {
			last := row{scenario: s.name, on: string(k), form: notRun, does: s.does}
			for _, r := range known {
				if r.scenario == s.name && r.on == string(k) && r.form != notRun {
					last = r
				}
			}
			rows = append(rows, last)
		}
	}
	var text strings.Builder
	_, _ = fmt.Fprintf(&text, reportHead, runtime.NumCPU(), runtime.Version(), totals(rows))
	for _, r := range rows {
		text.WriteString(r.String())
	}
	return text.String()
}

const reportHead = `# Reliability

What was done to the service, and what came of it. ` + "`make faults`" + ` runs all of it and writes this page (` + "`FAULTS_LENGTH=0.1`" + ` a tenth of it); ` + "`make test`" + ` runs a short form.
Each scenario drives the real binary over HTTP, with PostgreSQL on three processes (four where roles are apart), and then asks the API about every event and
compares with what the receivers got. One that breaks an invariant says FAILED.

Each row is of the run of its scenario that came to its end last: its form is 1 for the full one, and the day is in UTC. The last of these
runs was on %d cores with %s, and some ran beside other work. %s

| | invariant |
| --- | --- |
| I1 | each acknowledged event reaches a terminal state for each matching subscription |
| I2 | nothing is sent that the log does not know |
| I3 | a stale lease never writes |
| I4 | duplicates, and attempts whose end nobody knows, only where a fault overlapped the attempt, by when the run noted that it hit; with the same ids and bytes |
| I5 | attempts happen at or after their due time |
| I6 | other endpoints' latency holds |
| I7 | memory, disk, goroutines and connections stay bounded |
| I8 | what the API shows is the fold of the log, and the metrics count the same attempts |
| I9 | nothing crosses tenants: each has marks of its own in its events and its directory |
| I10 | dispositions sum up, and the reconciliation has the same |

| scenario | on | form | day | what it does | invariants | figures | took |
| --- | --- | --- | --- | --- | --- | --- | --- |
`

// counted are the figures that are summed up: killed and findings.String write them so.
var counted = regexp.MustCompile(`(\d+) (kills|lost)\b`)

// totals sums the rows up, and says which of them are nothing to rely on.
func totals(rows []row) string {
	sums, failed, missing := map[string]int{}, 0, 0
	for _, r := range rows {
		for _, match := range counted.FindAllStringSubmatch(r.figures, -1) {
			n, _ := strconv.Atoi(match[1])
			sums[r.on+match[2]] += n
		}
		if strings.Contains(r.figures, "FAILED") {
			failed++
		}
		if r.form == notRun {
			missing++
		}
	}
	var text []string
	for _, k := range both {
		text = append(text, fmt.Sprintf("%s: %d kills, %d acknowledged events lost.", k, sums[string(k)+"kills"], sums[string(k)+"lost"]))
	}
	return strings.Join(append(text, fmt.Sprintf("Of %d rows %d FAILED, and %d were not run.", len(rows), failed, missing)), " ")
}

// killed are the figures of a scenario that kills.
func killed(kills int, f findings) string { return fmt.Sprintf("%d kills: %s", kills, f) }

func TestReportKeepsWhatWasNotRun(t *testing.T) {
	all := []scenario{
		{name: "killed", does: "kills", on: both},
		{name: "slow", does: "slows", invariants: "I6", on: []kind{onPostgreSQL}},
		{name: "new", does: "is new", on: []kind{onSQLite}},
	}
	day := time.Date(2026, 3, 1, 23, 30, 0, 0, time.FixedZone("", -3600))
	was := func(s scenario, k kind, form, figures string) row {
		r := rowOf(s, k, figures, day)
		r.form, r.took = form, "5 s"
		return r
	}
	gone := scenario{name: "gone", on: both}
	page := ""
	for _, r := range []row{
		was(gone, onSQLite, "1", killed(1000, findings{lost: 1000})),
		was(all[1], onPostgreSQL, "0.01", "0.1 ms | 0.2 ms\n"+findings{}.String()),
		was(all[0], onPostgreSQL, "1", killed(20, findings{lost: 2})),
		was(all[0], onSQLite, "1", killed(7, findings{lost: 3})),
		was(all[0], onSQLite, "0.1", "**FAILED** "+killed(5, findings{lost: 1})),
	} {
		page = merged(append(all, gone), page, r)
	}
	page = merged(all, page, was(all[1], onPostgreSQL, "0.02", "0.1 ms | 0.2 ms\n"+findings{}.String()))

	_, table, _ := strings.Cut(page, "| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	want := `| killed | SQLite | 0.1 | 2026-03-02 | kills | I1 to I5, I7 to I10 | **FAILED** 5 kills: 0 events, 0 deliveries, 0 arrivals, 0 duplicates, 0 attempts overlapped by a fault, 1 lost | 5 s |
| killed | PostgreSQL, 3 processes | 1 | 2026-03-02 | kills | I1 to I5, I7 to I10 | 20 kills: 0 events, 0 deliveries, 0 arrivals, 0 duplicates, 0 attempts overlapped by a fault, 2 lost | 5 s |
| slow | PostgreSQL, 3 processes | 0.02 | 2026-03-02 | slows | I1 to I5, I7 to I10, I6 | 0.1 ms / 0.2 ms 0 events, 0 deliveries, 0 arrivals, 0 duplicates, 0 attempts overlapped by a fault, 0 lost | 5 s |
| new | SQLite | not run |  | is new |  |  |  |
`
	if table != want {
		t.Errorf("the table is\n%s\nand not\n%s", table, want)
	}
	totals := "SQLite: 5 kills, 1 acknowledged events lost. PostgreSQL, 3 processes: 20 kills, 2 acknowledged events lost. Of 4 rows 1 FAILED, and 1 were not run.\n"
	if !strings.Contains(page, totals) {
		t.Errorf("the totals are not %q in\n%s", totals, page)
	}
}

// TestReportIsReadBack merges the report that is kept with itself: all of its rows come out again, but of what is no scenario any more.
func TestReportIsReadBack(t *testing.T) {
	kept, err := os.ReadFile("../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := rowsOf(string(kept))
	if len(rows) == 0 {
		t.Fatal("no row is read")
	}
	all := slices.Concat(killScenarios, otherScenarios)
	again := merged(all, string(kept), row{})
	for _, r := range rows {
		is := slices.ContainsFunc(all, func(s scenario) bool { return s.name == r.scenario && slices.Contains(s.on, kind(r.on)) })
		if is && !strings.Contains(again, r.String()) {
			t.Errorf("this row is not read as it stands:\n%s", r)
		}
	}
}
