package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// appended is a record that waits for the commit, with the events that it names, if any.
type appended struct {
	records.Record
	accepted []acceptedRow
	again    *againRow
}

// append queues a record for the commit. A version that its stream already has is refused then.
func (tx *Tx) append(ctx context.Context, a appended) error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if err := tx.usable(ctx); err != nil {
		return err
	}
	tx.pending = append(tx.pending, a)
	tx.Appended(a.Topic)
	return nil
}

// appendPacked packs records and appends them.
func (tx *Tx) appendPacked(ctx context.Context, list ...records.Record) error {
	for _, r := range list {
		if err := tx.Publish(ctx, r.Packed()); err != nil {
			return err
		}
	}
	return nil
}

// Publish appends records as they are.
func (tx *Tx) Publish(ctx context.Context, list ...records.Record) error {
	for _, r := range list {
		if err := tx.append(ctx, appended{Record: r}); err != nil {
			return err
		}
	}
	return nil
}

// reads makes sure that a query in this transaction sees what was appended in it. From then on the log's lock is held until the commit,
// and not only around it.
func (tx *Tx) reads(ctx context.Context, concerned func(appended) bool) error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if err := tx.usable(ctx); err != nil {
		return err
	}
	if !slices.ContainsFunc(tx.pending, concerned) {
		return nil
	}
	return tx.flush(ctx, false)
}

// fromLog is from, for a query that must see the pending records that concerned picks.
func (db *DB) fromLog(ctx context.Context, concerned func(appended) bool) (reader, error) {
	tx, ok := ctx.Value(txKey{}).(*Tx)
	if !ok {
		return looker{db}, nil
	}
	return tx, tx.reads(ctx, concerned)
}

// perRecord is how many sequence numbers each position of the log has, for statements.
var perRecord = strconv.Itoa(records.MaxEventsPerRecord)

// lockClass names the locks of the log among the advisory locks of the database ("ORDV").
const lockClass = 0x4F524456

// Each of these orders of records has a lock, which is taken to append to it.
const (
	orderOfAll        = 0 // all topics but deliveries
	orderOfDeliveries = 1
)

const lockOrders = `SELECT pg_advisory_xact_lock($1, l) FROM unnest($2::int[]) AS l`

func (a appended) order() int32 {
	if a.Topic == records.TopicDeliveries {
		return orderOfDeliveries
	}
	return orderOfAll
}

// allTenants is the second key of advisory locks that all tenants share. It must not change: during a rolling upgrade, older processes
// take the same locks.
const allTenants = 0

const insertRecords = `INSERT INTO records (position, topic, tenant_id, stream, version, type, data, metadata, recorded_at, week)
SELECT nextval('log_numbers'), topic, tenant_id, stream, version, type, data, metadata, recorded_at, week
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bytea[], $7::bytea[], $8::bigint[], $9::smallint[])
  AS r (topic, tenant_id, stream, version, type, data, metadata, recorded_at, week)`

// unheardOf is the last position that the log has, or its readers have come to, unless the sequence has come to it, too. It needs no more of
// the sequence than who draws does; one that nobody has drawn from has come nowhere.
const unheardOf = `SELECT p FROM (SELECT max(position) FROM (SELECT position FROM consumer_offsets UNION ALL SELECT h.position FROM unnest($1::text[]) AS t (topic),
  LATERAL (SELECT position FROM records r WHERE r.topic = t.topic ORDER BY position DESC LIMIT 1) AS h) AS known) AS l (p)
WHERE p > coalesce(pg_sequence_last_value('log_numbers'), 0)`

// drawBeyond has positions drawn from beyond the log. Where the tables were replicated from another server, the sequence was not: what is
// accepted would get positions that have been read already, and never be delivered.
func (tx *Tx) drawBeyond(ctx context.Context) error {
	topics := []string{records.TopicEvents, records.TopicSubscriptions, records.TopicDeliveries, records.TopicTests, records.TopicPoison}
	var last int64
	err := tx.query(ctx, func(r pgx.Rows) error { return r.Scan(&last) }, unheardOf, topics)
	if err != nil || last == 0 {
		return err
	}
	if _, err := tx.Exec(ctx, lockOrders, lockClass, []int32{orderOfAll, orderOfDeliveries}); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `SELECT setval('log_numbers', p) FROM (`+unheardOf+`) AS l (p)`, topics)
	return err
}

// flush writes what waits, in one round trip. The locks come first and are held until the commit is visible, so whoever comes next draws
// higher positions and commits later: position order is commit order, and a reader that takes what is beyond its offset misses nothing.
// So this is the last step before the commit, which is sent along when the transaction's ID is already known.
func (tx *Tx) flush(ctx context.Context, committing bool) error {
	b := &pgx.Batch{QueuedQueries: tx.queued}
	tx.queued = nil
	if committing {
		b.QueuedQueries = append(b.QueuedQueries, tx.last...)
	}
	tx.proof = cmp.Or(tx.proof, proofOf(tx.pending))
	tx.queueLog(b)
	if committing {
		if note := tx.notification(); note != "" {
			b.Queue(`SELECT pg_notify($1, $2)`, channel, note)
		}
	}
	if b.Len() > 0 {
		tx.writes(b)
	}
	if committing && tx.xid != "" {
		tx.queueCommit(b)
	}
	if b.Len() == 0 {
		return nil
	}
	run := tx.run
	if committing { // see patiently
		run = tx.runWithin
	}
	if err := run(ctx, b); err != nil {
		return tx.failed(ctx, fmt.Errorf("write what waited, and append to the log: %w", err))
	}
	tx.pending = nil
	return nil
}

// queueLog takes the locks and appends what waits.
func (tx *Tx) queueLog(b *pgx.Batch) {
	if len(tx.pending) == 0 {
		return
	}
	var orders []int32
	added := weekRows{records: int64(len(tx.pending))}
	for _, a := range tx.pending {
		orders = append(orders, a.order())
		added.events += int64(len(a.accepted))
	}
	tx.db.growth.add(weekOf(tx.db.Now()), added)
	slices.Sort(orders)
	b.Queue(lockOrders, lockClass, slices.Compact(orders))
	queuePending(b, tx.pending)
}

// queuePending keeps the order in which the records were appended.
func queuePending(b *pgx.Batch, pending []appended) {
	for len(pending) > 0 {
		if anyEvent(pending[0]) {
			queueEvents(b, pending[0])
			pending = pending[1:]
			continue
		}
		n := slices.IndexFunc(pending, anyEvent)
		if n < 0 {
			n = len(pending)
		}
		queueRecords(b, pending[:n])
		pending = pending[n:]
	}
}

func queueEvents(b *pgx.Batch, a appended) {
	if a.again != nil {
		queueAgain(b, a)
	} else {
		queueAccepted(b, a)
	}
}

func queueRecords(b *pgx.Batch, run []appended) {
	n := len(run)
	version, at, week := make([]int64, n), make([]int64, n), make([]int16, n)
	topic, owner, stream, kind := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	data, meta := make([][]byte, n), make([][]byte, n)
	for i, r := range run {
		version[i], at[i], week[i] = r.Version, r.At.UnixMicro(), r.week()
		topic[i], owner[i], stream[i], kind[i] = r.Topic, string(r.Tenant), r.Stream, r.Type
		data[i], meta[i] = r.Data, r.Metadata
	}
	b.Queue(insertRecords, topic, owner, stream, version, kind, data, meta, at, week)
}

const recordColumns = `position, tenant_id, stream, version, type, data, metadata, recorded_at`

// scanRecord leaves data and metadata packed.
func scanRecord(r pgx.Rows) (s records.Record, err error) {
	var at int64
	err = r.Scan(&s.Position, &s.Tenant, &s.Stream, &s.Version, &s.Type, &s.Data, &s.Metadata, &at)
	s.At = time.UnixMicro(at).UTC()
	return s, err
}

// byVersion orders a stream. The index by stream does not include the version, or it would have an entry for each record.
func byVersion(a, b records.Record) int { return cmp.Compare(a.Version, b.Version) }

const selectStream = `SELECT ` + recordColumns + ` FROM records WHERE tenant_id = $1 AND stream = $2 AND version > 0`

// stream reads a whole stream, oldest first.
func (db *DB) stream(ctx context.Context, owner tenant.ID, stream string) ([]records.Record, error) {
	from, err := db.fromLog(ctx, func(a appended) bool { return a.Tenant == owner && a.Stream == stream })
	if err != nil {
		return nil, err
	}
	list, err := all(ctx, from, scanRecord, selectStream, owner, stream)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, byVersion)
	for i := range list { // not while rows are read: an error then would fail the transaction
		if err := list[i].Unpack(); err != nil {
			return nil, err
		}
	}
	return list, nil
}
