package postgres

import (
	"cmp"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// turnHeads holds where each tenant's waiting events begin. The log is read in order and turns take the oldest, so that place only ever
// moves forward; unless the server itself goes back in time, to a backup or a standby that was behind.
type turnHeads struct{ heads[tenant.ID] }

func newTurnHeads() turnHeads { return turnHeads{newHeads[tenant.ID](longTurn)} }

func (h *turnHeads) longest() []longHead[tenant.ID] {
	return h.heads.longest(func(tenant.ID) bool { return true }, cmp.Compare[tenant.ID])
}

// taken notes where the waiting events begin after a turn that was committed.
func (h *turnHeads) taken(taken, deferred []fanout.Deferred, now time.Time) {
	next, n := map[tenant.ID]int64{}, map[tenant.ID]int{}
	for _, d := range taken {
		next[d.Tenant] = max(next[d.Tenant], records.SequenceOf(d)+1)
		n[d.Tenant]++
	}
	for _, d := range deferred {
		if at, ok := next[d.Tenant]; ok {
			next[d.Tenant] = min(at, records.SequenceOf(d))
		}
	}
	for owner, at := range next {
		h.left(owner, at, now, 0, n[owner])
	}
}

// looked notes the first event that a search found for a tenant, nil for none. The search began at now; start says whether at the beginning.
func (h *turnHeads) looked(owner tenant.ID, first *int64, now time.Time, start bool) {
	var took time.Duration
	if start {
		took = max(1, time.Since(now))
	}
	switch {
	case first != nil:
		h.left(owner, *first, now, took, 0)
	case start:
		h.searched(owner, now, took)
	}
}

// turnWalk looks for the next tenant with waiting events, in a circle that starts behind a given tenant. A tenant that is long to walk over
// is entered where its events begin.
type turnWalk struct {
	began   time.Time
	entries []turnEntry
	found   []turnFound // one for each entry; empty for none
}

type turnFound struct {
	owner tenant.ID
	first int64
}

type turnEntry struct {
	owner, end tenant.ID // from owner on, before end
	from       int64
	start      bool // whether a long tenant is searched from its beginning
}

func newTurnWalk(after tenant.ID, long []longHead[tenant.ID], now time.Time) *turnWalk {
	behind := after + " " // and before every later ID
	list := []turnEntry{{owner: "", from: fromTheStart}, {owner: behind, from: fromTheStart}}
	for _, l := range long {
		from, start := l.from(now)
		list = append(list, turnEntry{owner: l.of, from: from, start: start})
	}
	slices.SortFunc(list, func(a, b turnEntry) int { return cmp.Compare(a.owner, b.owner) })
	first, end := 0, tenant.ID(afterAll)
	for i, e := range slices.Backward(list) {
		if list[i].end, end = end, e.owner; e.owner == behind {
			first = i
		}
	}
	return &turnWalk{now, slices.Concat(list[first:], list[:first]), make([]turnFound, len(list))}
}

func (w *turnWalk) queue(b *pgx.Batch) {
	for i, e := range w.entries {
		b.Queue(nextTurn, e.owner, e.from, e.end).Query(rowByRow(func(rows pgx.Rows) error { return rows.Scan(&w.found[i].owner, &w.found[i].first) }))
	}
}

// next is the first tenant that was found.
func (w *turnWalk) next() tenant.ID { return cmp.Or(w.found...).owner }

// moveHeads keeps what was learned of the tenants that were searched from their beginning.
func (w *turnWalk) moveHeads(h *turnHeads) {
	for i, e := range w.entries {
		switch found := w.found[i]; {
		case e.start && found.owner == e.owner:
			h.looked(e.owner, &found.first, w.began, true)
		case e.start:
			h.looked(e.owner, nil, w.began, true)
		}
	}
}
