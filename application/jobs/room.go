package jobs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Limits bound unfinished deliveries, of one tenant and of all together, as intake's do; 0 is no bound. Jobs open no more once about half of a
// bound is taken, so that the other half is left to events.
type Limits struct {
	TenantOpen, Open int
}

const (
	// A count is good for 1/besideOthers of what it found free, since other processes and events take from the same, and for countedFor.
	besideOthers = 8
	countedFor   = 10 * time.Second
	// A job without room waits countPause times as long as the count took, and shortestPause at least.
	countPause    = 50
	shortestPause = 5 * time.Second
)

// errNoRoom ends a step that would open deliveries for which no room has been counted.
var errNoRoom = errors.New("no room has been counted for what the job would open")

// room is how many deliveries jobs may open before what is open is counted again.
type room struct {
	left      int
	countedAt time.Time
}

func (r room) isGood(now time.Time) bool {
	since := now.Sub(r.countedAt)
	return r.left > 0 && since >= 0 && since <= countedFor
}

// everybody is in the place of a tenant.
const everybody tenant.ID = ""

// opens is how many of the picked deliveries are finished, or not there yet.
func (next *picked) opens(mode job.Mode) (n int) {
	for _, d := range next.deliveries {
		if mode != job.Original || d.Status.IsTerminal() {
			n++
		}
	}
	return n
}

// uncounted is whose open deliveries are to be counted before the tenant's jobs may open more.
func (w *Worker) uncounted(owner tenant.ID, now time.Time) (whose []tenant.ID) {
	for _, o := range []tenant.ID{owner, everybody} {
		if w.limit(o) > 0 && !w.rooms[o].isGood(now) {
			whose = append(whose, o)
		}
	}
	return whose
}

func (w *Worker) limit(owner tenant.ID) int {
	if owner == everybody {
		return w.Limits.Open
	}
	return w.Limits.TenantOpen
}

// opened notes what a step has opened.
func (w *Worker) opened(owner tenant.ID, deliveries int) {
	for _, o := range []tenant.ID{owner, everybody} {
		if r, counted := w.rooms[o]; counted {
			r.left -= deliveries
			w.rooms[o] = r
		}
	}
}

// findRoom counts what is open, and has the job wait if that leaves no room, so that other jobs come before it.
func (w *Worker) findRoom(ctx context.Context, j job.Job) error {
	found := map[tenant.ID]int{}
	for _, o := range w.uncounted(j.Tenant, w.service.Now()) {
		left, pause, err := w.count(ctx, o)
		if err != nil {
			return err
		}
		if pause > 0 {
			return w.rest(ctx, j, pause)
		}
		found[o] = left
	}
	now := w.service.Now()
	maps.DeleteFunc(w.rooms, func(_ tenant.ID, r room) bool { return !r.isGood(now) })
	for o, left := range found { // noted together, so that all are good for a step, however long they took
		w.rooms[o] = room{left: left, countedAt: now}
	}
	return nil
}

// count returns what jobs may open, or how long to wait if that is nothing.
func (w *Worker) count(ctx context.Context, owner tenant.ID) (left int, pause time.Duration, err error) {
	half, began := (w.limit(owner)+1)/2, w.service.Now()
	open, err := w.service.Deliveries.CountOpen(ctx, owner, half)
	if err != nil {
		return 0, 0, fmt.Errorf("count open deliveries: %w", err)
	}
	free := half - open
	if free <= half/besideOthers { // less would not do for long
		return 0, min(max(countPause*w.service.Now().Sub(began), shortestPause), job.LongestPause), nil
	}
	return max(1, free/besideOthers), 0, nil
}

func (w *Worker) rest(ctx context.Context, j job.Job, pause time.Duration) error {
	err := w.service.Deliveries.InTx(ctx, func(ctx context.Context) error {
		current, err := w.service.Store.Job(ctx, j.Tenant, j.ID)
		if err != nil || !current.Open() {
			return err
		}
		now := w.service.Now()
		current.Await(job.Room, now)
		return w.service.Store.SaveJob(ctx, current, now.Add(pause))
	})
	if err != nil {
		return fmt.Errorf("have %s wait for room: %w", j.ID, err)
	}
	return nil
}
