package postgres

import (
	"errors"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/oklog/ulid/v2"
)

// An event is stored in the part for the week in which it was accepted, unless its ID is of a later week: then in week 0. So an ID is
// looked up in week 0 and from its own week on, which for nearly all IDs is the newest week, however many weeks are kept.

// clocksDiffer is how far the clocks of whoever makes IDs, of this service's processes and of the server may be apart.
const clocksDiffer = time.Hour

// weekOfID is the week in which the ID was made. It is false for an ID that carries no time.
func weekOfID(id string) (w int16, ok bool) {
	made, ok := timeOfID("evt_", id)
	return weekOf(made.Add(-clocksDiffer)), ok
}

// timeOfID is when the ID was made. It is false for an ID that carries no time.
func timeOfID(prefix, id string) (made time.Time, ok bool) {
	read, err := ulid.ParseStrict(strings.TrimPrefix(id, prefix))
	if err != nil {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(min(read.Time(), uint64(math.MaxInt64/1000)))), true
}

// weekOfEvent is the part that an event goes to.
func weekOfEvent(id string, at time.Time) int16 {
	if made, ok := weekOfID(id); !ok || made > weekOf(at) {
		return 0
	}
	return weekOf(at)
}

// firstWeek is the first part, week 0 aside, that may hold one of the events. An ID from the future may have been accepted by a process
// that does not know of weeks, so it is looked up everywhere.
func firstWeek(ids []string, now time.Time) int16 {
	first := weekOf(now)
	for _, id := range ids {
		made, ok := weekOfID(id)
		if !ok || made > weekOf(now) {
			return 0
		}
		first = min(first, made)
	}
	return first
}

// errAcceptedBeside says that another process accepted the event meanwhile.
var errAcceptedBeside = errors.New("another process has just accepted the event")

const acceptedBeside = `SELECT 1 / (count(*) = 0)::int FROM unnest($1::text[], $2::text[]) AS k (tenant_id, event_id)
JOIN events e ON (e.week = 0 OR e.week BETWEEN $3 AND $4) AND e.tenant_id = k.tenant_id AND e.event_id = k.event_id`

// queueLookBeside looks for events that another process has just accepted into another week. Around the turn of a week no part's key
// catches them; but this runs under the log's lock, and so sees everything that was committed.
func queueLookBeside(b *pgx.Batch, at time.Time, tenants, ids []string) {
	before, after := weekOf(at.Add(-clocksDiffer)), weekOf(at.Add(clocksDiffer))
	if before == after {
		return
	}
	b.QueuedQueries = append(b.QueuedQueries, deciding(errAcceptedBeside, acceptedBeside, tenants, ids, before, after))
}
