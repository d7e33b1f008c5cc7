package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// fillDisk has a disk run full while events come in and are delivered, and gives room again. Meanwhile who emits is told to
// come again and the probe says why, what was accepted is shown, and afterwards the same processes go on.
func fillDisk(t *testing.T, k kind) string {
	disk := mountSmallDisk(t)
	s := open(t, disk.database(k), nil).prepare()
	stop := s.load(50 * time.Millisecond)
	var refused []accepted
	var slowest time.Duration
	for range inFull(2, 10) {
		before := s.receiver.count()
		eventually(t, "deliveries move", func() bool { return s.receiver.count() >= before+50 })
		over := func() {}
		if k == onPostgreSQL { // where heartbeats are written for others
			over = s.strike()
		}
		disk.fill()
		refused = append(refused, s.refusedInARow(20)...)
		s.isNotReady("no room on its disk")
		s.isShown(s.events()[0])
		during(inFull(100*time.Millisecond, 5*time.Second))
		disk.free()
		slowest = max(slowest, s.moveAgain())
		over()
		s.isReady()
	}
	stop()
	figures := s.check()
	for _, e := range refused {
		s.isUnknown(e)
	}
	if k == onSQLite {
		s.kill(0)
		intact(t, disk.sqlite())
	}
	return fmt.Sprintf("full %d times, deliveries moved again after %.1f s at most; %d events were refused for good, and nothing of them is there; %s",
		inFull(2, 10), slowest.Seconds(), len(refused), figures)
}

// smallDisk is a file system of a few megabytes.
type smallDisk struct {
	*testing.T
	dir string
}

func mountSmallDisk(t *testing.T) smallDisk {
	t.Helper()
	dir, err := os.MkdirTemp("", "ordinavo-disk-") // PostgreSQL's server may not enter the test's own folder
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) })
	switch err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=128m,mode=755"); {
	case errors.Is(err, syscall.EPERM): // who is not root, and root in most containers
		t.Skipf("no file system may be mounted here, so this is not counted: %v", err)
	case err != nil:
		t.Fatalf("no file system can be mounted, and so no disk filled: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return smallDisk{t, dir}
}

func (d smallDisk) sqlite() string { return filepath.Join(d.dir, "o.db") }

// database is a fresh one on the disk. PostgreSQL has its log elsewhere: it ends when it cannot write that.
func (d smallDisk) database(k kind) database {
	d.Helper()
	if k == onSQLite {
		return database{url: "sqlite:" + d.sqlite(), processes: 1}
	}
	server, err := pgtest.Start("fsync=off")
	pgtest.Check(d.T, err)
	d.Cleanup(func() { _ = server.Stop() })
	url, err := server.CreateOn(filepath.Join(d.dir, "tables"))
	if err != nil {
		d.Fatal(err)
	}
	return database{url: url, processes: 3}
}

func (d smallDisk) ballast() string { return filepath.Join(d.dir, "ballast") }

// fill takes all room that is left.
func (d smallDisk) fill() {
	d.Helper()
	file, err := os.Create(d.ballast())
	if err != nil {
		d.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for size := 1 << 20; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = file.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			d.Fatal(err)
		}
	}
}

func (d smallDisk) free() {
	d.Helper()
	if err := os.Remove(d.ballast()); err != nil {
		d.Fatal(err)
	}
}

// refusedInARow emits events until so many of them are refused one after the other, and gives those that were. They are not
// sent again.
func (s *site) refusedInARow(n int) (refused []accepted) {
	s.Helper()
	row, turn := 0, 0
	eventually(s.T, "events are refused", func() bool {
		e := accepted{id: newEventID(), tenant: tenants[turn%len(tenants)], at: time.Now()}
		status, header, text, err := s.call(context.Background(), s.turn(turn), e.tenant, http.MethodPost, "/v1/events", visit(e.tenant, e.id))
		turn++
		if err == nil && status != http.StatusAccepted {
			err = s.excuse(status, header, text)
		}
		switch {
		case err != nil:
			s.Error(err)
		case status == http.StatusAccepted:
			row = 0
			s.mu.Lock()
			s.accepted = append(s.accepted, e)
			s.mu.Unlock()
		default:
			row++
			refused = append(refused, e)
		}
		return row >= n || s.Failed()
	})
	return refused
}

// isNotReady waits until each process says that it is not, and why.
func (s *site) isNotReady(why string) {
	s.Helper()
	s.alive(func(n int, p *process) {
		eventually(s.T, fmt.Sprintf("process %d says why it is not ready", n), func() bool {
			status, header, text, err := s.call(context.Background(), p, "", http.MethodGet, "/readyz", nil)
			return err == nil && status == http.StatusServiceUnavailable && header.Get("Retry-After") != "" && strings.Contains(string(text), why)
		})
	})
}

func (s *site) isReady() {
	s.Helper()
	s.alive(func(n int, p *process) {
		eventually(s.T, fmt.Sprintf("process %d is ready", n), func() bool { return s.probe(p, "/readyz") == http.StatusOK })
	})
}

// isShown waits until each process shows the event, alone and in a list.
func (s *site) isShown(e accepted) {
	s.Helper()
	for _, path := range []string{"/v1/events/" + e.id, "/v1/deliveries?eventId=" + e.id} {
		s.alive(func(n int, p *process) {
			eventually(s.T, fmt.Sprintf("process %d answers %s", n, path), func() bool {
				status, _, text, err := s.call(context.Background(), p, e.tenant, http.MethodGet, path, nil)
				return err == nil && status == http.StatusOK && strings.Contains(string(text), e.id)
			})
		})
	}
}

func (s *site) isUnknown(e accepted) {
	s.Helper()
	if status, text, err := s.any(e.tenant, http.MethodGet, "/v1/events/"+e.id, nil); err != nil || status != http.StatusNotFound {
		s.Errorf("%s was refused, and is known: %d %s (%v)", e.id, status, text, err)
	}
}
