package fanout

import (
	"math"
	"time"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// What is handed over leased need not be leased later, and never waits in the queue: a row that is written twice, not three times. So
// while the attempts are behind, events wait for room, many in one row, and not their deliveries. That they wait for each other's
// subscriptions is bounded: those of a lane that does not get on go to the queue.
const (
	// roomPause is for how long turns rest when there is room for none of those that wait.
	roomPause = 10 * time.Millisecond
	// roomPatience is for how long a turn waits for room.
	roomPatience = 100 * time.Millisecond
	// passedOn is how many turns are passed on in a row for want of room before turns rest.
	passedOn = 8
	// maxPaced is for how long an event may have waited when its turn waits for room still, or lagShare of MaxLag where that is less.
	maxPaced = 15 * time.Second
	lagShare = 20
)

// takes says whether there is room for so many deliveries more of the tenant, and counts them.
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

// pace is how a tenant's turns get on.
type pace struct {
	full   time.Time // since when the next waits for room; zero when it does not
	oldest time.Time // when the first event of the last one was accepted
}

// waits says whether the tenant's turn waits for room.
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

// late says whether the tenant's events have waited for too long to wait for room.
func (t *Turns) late(p pace, now time.Time) bool {
	most := maxPaced
	if t.MaxLag > 0 {
		most = min(most, t.MaxLag/lagShare)
	}
	return !p.oldest.IsZero() && now.Sub(p.oldest) > most
}

// atOnce is how many deliveries the tenant's turn comes to: as many as there is room for, or as may be when it has waited in vain.
func (t *Turns) atOnce(owner tenant.ID) int {
	if p := t.paces[owner]; t.late(p, t.Now()) || !p.full.IsZero() {
		return t.AtOnce
	}
	return min(t.AtOnce, t.roomFor(owner))
}
