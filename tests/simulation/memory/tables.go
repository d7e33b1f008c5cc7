package memory

import (
	"cmp"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/application/sweep"
	keys "github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// key is a primary key of up to three columns, the tenant first where there is one.
type key [3]string

func keyOf(owner tenant.ID, parts ...string) key {
	k := key{string(owner)}
	copy(k[1:], parts)
	return k
}

func (k key) compare(other key) int {
	return cmp.Or(strings.Compare(k[0], other[0]), strings.Compare(k[1], other[1]), strings.Compare(k[2], other[2]))
}

// table is rows in the order of their keys. Rows are values: who changes one puts it back.
type table[V any] struct {
	keys []key
	rows map[key]V
}

func newTable[V any]() *table[V] { return &table[V]{rows: map[key]V{}} }

func (t *table[V]) get(k key) (V, bool) {
	row, found := t.rows[k]
	return row, found
}

// put writes a row, and notes in the transaction how it was before.
func (t *table[V]) put(tx *tx, k key, row V) {
	before, existed := t.rows[k]
	t.set(k, row)
	tx.undo = append(tx.undo, func() {
		if existed {
			t.set(k, before)
		} else {
			t.remove(k)
		}
	})
}

func (t *table[V]) drop(tx *tx, k key) bool {
	before, existed := t.rows[k]
	if existed {
		t.remove(k)
		tx.undo = append(tx.undo, func() { t.set(k, before) })
	}
	return existed
}

func (t *table[V]) set(k key, row V) {
	if _, there := t.rows[k]; !there {
		at, _ := slices.BinarySearchFunc(t.keys, k, key.compare)
		t.keys = slices.Insert(t.keys, at, k)
	}
	t.rows[k] = row
}

func (t *table[V]) remove(k key) {
	delete(t.rows, k)
	at, _ := slices.BinarySearchFunc(t.keys, k, key.compare)
	t.keys = slices.Delete(t.keys, at, at+1)
}

// all is the rows in the order of their keys; they must not be written meanwhile.
func (t *table[V]) all() iter.Seq2[key, V] {
	return func(yield func(key, V) bool) {
		for _, k := range t.keys {
			if !yield(k, t.rows[k]) {
				return
			}
		}
	}
}

// under is the rows whose keys begin with the first columns, in the order of their keys.
func (t *table[V]) under(first ...string) iter.Seq2[key, V] {
	var from key
	copy(from[:], first)
	return func(yield func(key, V) bool) {
		at, _ := slices.BinarySearchFunc(t.keys, from, key.compare)
		for ; at < len(t.keys) && slices.Equal(t.keys[at][:len(first)], first); at++ {
			if !yield(t.keys[at], t.rows[t.keys[at]]) {
				return
			}
		}
	}
}

type (
	storedKey struct {
		keys.Key
		hash access.Hash
	}
	storedEvent struct {
		intake.Accepted
		sequence int64
		setAside *fanout.SetAside
		retried  *queries.Retried
	}
	storedSubscription struct {
		subscription.Subscription
		failingSince time.Time
		failures     int
	}
	// storedSecret remembers what it was saved for, as sealing does.
	storedSecret struct {
		secret.Secret
		lane dispatch.Lane
		id   string
	}
	storedSweep struct {
		action sweep.Action
		turn   time.Time
	}
	queued struct {
		delivery.Delivery
		acceptedAt  time.Time
		traceParent string
		lease       string
		leasedAt    time.Time
		waits       bool // it falls due later
	}
	// storedProjection counts generations from 0.
	storedProjection struct{ live, newest metrics.Generation }
	storedAnswer     struct {
		idempotency.Reservation
		sealed []byte
	}
)

// tables is all there is; record and stream are in log.go.
type tables struct {
	tenants       *table[access.Tenant]
	keys          *table[storedKey]
	records       *table[payload.Context] // customers, locations, contacts
	externalIDs   *table[string]
	events        *table[storedEvent]
	subscriptions *table[storedSubscription]
	secrets       *table[storedSecret]
	sweeps        *table[storedSweep]
	notices       *table[subscriptions.Notice]
	jobs          *table[storedJob]
	deferred      *table[fanout.Deferred]
	bodies        *table[[]byte]
	gated         *table[fanout.Gated]
	open, closed  *table[queued]
	incarnations  *table[time.Time] // of the last heartbeat
	circuits      *table[circuit.Report]
	answers       *table[storedAnswer]
	offsets       *table[int64]
	attempts      *table[counted]
	projections   *table[storedProjection]
	days          *table[dayCount]
	hours         *table[storedHour]
	log           []*record
	lastPosition  int64
	streams       *table[[]*record]
}

func newTables() tables {
	return tables{
		tenants: newTable[access.Tenant](), keys: newTable[storedKey](), records: newTable[payload.Context](), externalIDs: newTable[string](),
		events: newTable[storedEvent](), subscriptions: newTable[storedSubscription](), secrets: newTable[storedSecret](), sweeps: newTable[storedSweep](), notices: newTable[subscriptions.Notice](), jobs: newTable[storedJob](),
		deferred: newTable[fanout.Deferred](), bodies: newTable[[]byte](), gated: newTable[fanout.Gated](), open: newTable[queued](), closed: newTable[queued](),
		incarnations: newTable[time.Time](), circuits: newTable[circuit.Report](), answers: newTable[storedAnswer](), offsets: newTable[int64](), attempts: newTable[counted](), days: newTable[dayCount](), projections: newTable[storedProjection](), hours: newTable[storedHour](), streams: newTable[[]*record](),
	}
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
