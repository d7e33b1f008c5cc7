package faults_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite" // for what is looked at when the service has ended
)

// diskScenarios are about the disk under the database.
var diskScenarios = []scenario{
	{name: "disk full", does: "the disk of the database (with PostgreSQL, of its tables) is full at load for a while, and then not", on: both, run: fillDisk},
	{name: "disk error once", does: "of the calls that SQLite makes while an event is accepted, fanned out, sent and recorded, the n-th fails, for each n", on: []kind{onSQLite},
		run: failingDisk(false)},
	{name: "disk errors for a while", does: "the n-th call fails and all after it, until the disk is mended, for each n", on: []kind{onSQLite},
		run: failingDisk(true)},
}

// hookedDisk is the hooks of adapters/faults in a process.
type hookedDisk struct {
	*testing.T
	client *http.Client
}

func newHookedDisk(t *testing.T) (d hookedDisk, variable string) {
	t.Helper()
	dir, err := os.MkdirTemp(scratch, "") // a test's own folder has too long a name for a socket
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return hookedDisk{t, &http.Client{Transport: &http.Transport{DialContext: dial}}}, "FAULTS_DISK=" + socket
}

func (d hookedDisk) order(method, query string) (calls, failures int, first string) {
	d.Helper()
	request, err := http.NewRequest(method, "http://disk/?"+query, nil)
	if err != nil {
		d.Fatal(err)
	}
	answer, err := d.client.Do(request)
	if err != nil {
		d.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if _, err := fmt.Fscan(answer.Body, &calls, &failures, &first); err != nil {
		d.Fatal(err)
	}
	return calls, failures, first
}

// arm makes the n-th call from now on fail, alone or with all that come after it.
func (d hookedDisk) arm(n int, lasting bool) {
	d.Helper()
	d.order(http.MethodPut, fmt.Sprintf("call=%d&lasting=%t", n, lasting))
}

// failed is how many calls have failed since it was armed, and what the first was.
func (d hookedDisk) failed() (failures int, first string) {
	d.Helper()
	_, failures, first = d.order(http.MethodGet, "")
	return failures, first
}

// leastFailures is of how many calls each must fail in its turn, at the very least: where fewer are made, the hooks do not see them all.
const leastFailures = 50

// triesOfCall is how many events have to pass, with no more calls than were failed already, until none of more is expected: no two make the same.
const triesOfCall = 3

// failingDisk brings an event through for each call that can fail on its way, until none is left that does.
func failingDisk(lasting bool) func(*testing.T, kind) string {
	return func(t *testing.T, k kind) string {
		d := fresh(t, k)
		disk, variable := newHookedDisk(t)
		s := open(t, d, nil, variable).prepare()
		kinds, long := map[string]int{}, 0
		for n, tries := 1, 0; tries < triesOfCall; {
			lasts := lasting && (*full || n%8 == 0)
			disk.arm(n, lasting)
			what := s.throughTrouble(disk, n, lasts)
			if what == "" {
				tries++
				continue
			}
			n, tries = n+1, 0
			kinds[what]++
			if lasts {
				long++
			}
		}
		all := 0
		for _, n := range kinds {
			all += n
		}
		if all < leastFailures || kinds["read"] == 0 || kinds["write"] == 0 || kinds["sync"] == 0 || lasting && long == 0 {
			t.Errorf("%d calls failed, of which these: %v, and %d for longer", all, kinds, long)
		}
		figures := s.check()
		s.kill(0)
		intact(t, strings.TrimPrefix(d.url, "sqlite:"))
		text := fmt.Sprintf("%d calls failed (%d reads, %d writes, %d syncs)", all, kinds["read"], kinds["write"], kinds["sync"])
		if lasting {
			text += fmt.Sprintf(", with %d of them all for %s, when nothing was accepted", long, beyondRetry)
		}
		return text + ": " + figures.String()
	}
}

// beyondRetry is longer than anybody waits who tries for the first time again.
const beyondRetry = 300 * time.Millisecond

// throughTrouble emits an event, mends the disk a little after it began to fail, and waits until the event is settled. While the disk
// fails for long nothing else is accepted. It says what failed, if anything did.
func (s *site) throughTrouble(disk hookedDisk, n int, long bool) (what string) {
	s.Helper()
	before, failures, tenant := len(s.events()), 0, tenants[n%len(tenants)]
	var emitters sync.WaitGroup
	emit := func(id string) {
		emitters.Go(func() {
			if err := s.emitThese(tenant, []string{id}, s.turn); err != nil {
				s.Error(err)
			}
		})
	}
	first, second := newEventID(), newEventID()
	emit(first)
	eventually(s.T, "the disk fails, or the event is settled", func() bool {
		failures, what = disk.failed()
		all := s.events()
		return failures > 0 || len(all) > before && s.settledNow(all[before])
	})
	long = long && failures > 0
	switch {
	case long:
		emit(second)
		during(beyondRetry)
	case failures > 0:
		during(10 * time.Millisecond)
	}
	mended := time.Now()
	disk.arm(0, false)
	emitters.Wait()
	for _, e := range s.events()[before:] {
		if e.id == second && e.at.Before(mended) {
			s.Errorf("I1: an event was accepted %s before the disk was mended, which could write nothing", mended.Sub(e.at))
		}
		eventually(s.T, "the event is settled", func() bool { return s.settledNow(e) })
	}
	if failures == 0 {
		return ""
	}
	return what
}

// settledNow asks once, and no answer is no.
func (s *site) settledNow(e accepted) bool {
	var shown struct{ Dispositions []disposition }
	status, header, text, err := s.call(context.Background(), s.turn(0), e.tenant, http.MethodGet, "/v1/events/"+e.id, nil)
	if err == nil && status != http.StatusOK {
		if err := s.excuse(status, header, text); err != nil {
			s.Error(err)
		}
	}
	return err == nil && status == http.StatusOK && json.Unmarshal(text, &shown) == nil && settled(shown.Dispositions)
}

// intact has SQLite look through a file that nobody uses.
func intact(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var verdict string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("the file is not intact: %s (%v)", verdict, err)
	}
}
