package faults_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// recommended is the statement by which docs/operate.md has SQLite backed up.
var recommended = regexp.MustCompile(`\$ sqlite3 \S+ "(.+) '\S+'"`)

// backup copies the site's database while it is in use, and returns how to put it in place of the database.
func (s *site) backup(k kind) (restore func()) {
	s.Helper()
	file := filepath.Join(s.TempDir(), "backup")
	if k == onPostgreSQL {
		pgtest.Dump(s, s.url, file)
		return func() { s.url = pgtest.Restore(s, file) }
	}
	path := strings.TrimPrefix(s.url, "sqlite:")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	operate, err := os.ReadFile("../../docs/operate.md")
	if err != nil {
		s.Fatal(err)
	}
	statement := recommended.FindSubmatch(operate)
	if statement == nil {
		s.Fatal("docs/operate.md does not say how to back up SQLite")
	}
	if _, err := db.Exec(string(statement[1])+" ?", file); err != nil {
		s.Fatal(err)
	}
	return func() {
		for _, old := range []string{path, path + "-wal", path + "-shm"} {
			if err := os.Remove(old); err != nil && !os.IsNotExist(err) {
				s.Fatal(err)
			}
		}
		if err := os.Rename(file, path); err != nil {
			s.Fatal(err)
		}
	}
}

// restoreBackup goes back to a backup that is older than what was accepted and delivered.
func restoreBackup(t *testing.T, k kind) string {
	s := open(t, fresh(t, k), nil).prepare()
	n := inFull(40, 1000)
	s.emit(n)
	s.settle()
	held := make(chan struct{})
	letGo := sync.OnceFunc(func() { close(held) })
	t.Cleanup(letGo)
	s.receiver.answers(func(arrival) int { <-held; return http.StatusOK })
	before, out := s.receiver.count(), inFull(40, 100) // no more than their lanes take at once
	s.emit(out)
	eventually(t, "attempts are out", func() bool { return s.receiver.count() == before+out*3/2 })
	kept := s.events()
	restore := s.backup(k)
	letGo()
	s.receiver.answers(nil)
	s.emit(n)
	s.settle()
	gone := s.events()[len(kept):]
	ahead := s.pull(s.subs[0])
	s.alive(func(n int, _ *process) { s.empty(n) })
	restore()
	for n := range s.slots {
		s.start(n)
	}
	s.receiver.forget(gone)
	status, text, err := s.any(s.subs[0].tenant, http.MethodGet, "/v1/subscriptions/"+s.subs[0].ID+"/events?after="+ahead, nil)
	if err != nil || status != http.StatusBadRequest || !strings.Contains(string(text), "older backup") {
		t.Errorf("who pulls with a cursor that the backup does not have gets %d: %s (%v)", status, text, err)
	}
	began := time.Now()
	s.emitAgain(kept, "duplicate")
	s.emitAgain(gone, "accepted")
	f := s.check()
	return fmt.Sprintf("%d accepted after the backup were accepted again and delivered under new delivery IDs, all settled after %.1f s; %s", len(gone), time.Since(began).Seconds(), f)
}

// pull reads all events of a subscription and returns the last cursor.
func (s *site) pull(sub subscription) (cursor string) {
	s.Helper()
	for more := true; more; {
		var page struct {
			NextCursor string
			HasMore    bool
		}
		s.get(sub.tenant, "/v1/subscriptions/"+sub.ID+"/events?limit=200&after="+cursor, &page)
		cursor, more = page.NextCursor, page.HasMore
	}
	return cursor
}

// emitAgain emits events once more under their IDs, as a product service does that cannot know what the backup has.
func (s *site) emitAgain(events []accepted, want string) {
	s.Helper()
	for batch := range slices.Chunk(events, 100) {
		bodies := make([]object, len(batch))
		for i, e := range batch {
			bodies[i] = visit(e.tenant, e.id)
		}
		var answer struct {
			Results []struct{ EventID, Status string }
		}
		s.post("", "/v1/events", object{"events": bodies}, &answer)
		for _, r := range answer.Results {
			if r.Status != want {
				s.Errorf("%s is %s when it comes again, want %s", r.EventID, r.Status, want)
			}
		}
	}
}
