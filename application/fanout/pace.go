package fanout

import (
	"math"
	"time"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// What is handed over leased never waits in the queue and need not be leased later, so its row is written twice instead of
// three times. So while attempts lag, it is events that wait for room, many in one row, and not their deliveries. The time that
// a tenant's subscriptions make each other wait is bounded: deliveries of a lane that makes no progress go to the queue.
const (
	// roomPause is how long turns rest when there is room for no waiting tenant.
	roomPause = 10 * time.Millisecond
	// roomPatience is how long a turn waits for room.
	roomPatience = 100 * time.Millisecond
	// passedOn is how many turns in a row are passed on for want of room before turns rest.
	passedOn = 8
	// maxPaced is how long an event may have waited while its turn still waits for room; MaxLag/lagShare where that is less.
	maxPaced = 15 * time.Second
	lagShare = 20
)

// takes reports whether there is room for that many more deliveries of the tenant, and counts them.
func (b *batch) takes(owner tenant.ID, deliveries int) bool {
	room, asked := b.room[owner]
	if !asked {
		room = b.roomFor(owner)
	}
	takes := deliveries <= room
	if takes {
		room -= deliveries
	}
	b.room[owner] = room
	return takes
}

func (w *work) roomFor(owner tenant.ID) int {
	if w.Handover == nil {
		return math.MaxInt
	}
	return w.Handover.Room(owner)
}

// pace is how a tenant's turns progress.
type pace struct {
	full   time.Time // since when the next turn has waited for room; zero when it does not
	oldest time.Time // when the first event of the last turn was accepted
}

// waits reports whether the tenant's turn waits for room.
func (t *Turns) waits(owner tenant.ID) bool {
	p, now := t.paces[owner], t.Now()
	if t.late(p, now) {
		return false
	}
	if t.roomFor(owner) > 0 {
		t.paces[owner] = pace{oldest: p.oldest}
		return false
	}
	if p.full.IsZero() {
		p.full = now
		t.paces[owner] = p
	}
	waited := now.Sub(p.full)
	return waited >= 0 && waited < roomPatience
}

// late reports whether the tenant's events have waited too long to wait for room.
func (t *Turns) late(p pace, now time.Time) bool {
	most := maxPaced
	if t.MaxLag > 0 {
		most = min(most, t.MaxLag/lagShare)
	}
	return !p.oldest.IsZero() && now.Sub(p.oldest) > most
}

// atOnce is how many deliveries the tenant's turn may come to: as many as there is room for, or AtOnce once it has waited in
// vain.
func (t *Turns) atOnce(owner tenant.ID) int {
	if p := t.paces[owner]; t.late(p, t.Now()) || !p.full.IsZero() {
		return t.AtOnce
	}
	return min(t.AtOnce, t.roomFor(owner))
}
