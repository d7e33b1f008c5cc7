package postgres

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const selectShards = `SELECT shards FROM log_shards`

// Shards is how many shards the sharded topics have; fixed when the database was made.
func (db *DB) Shards(ctx context.Context) (int, error) {
	if n := db.shards.Load(); n > 0 {
		return int(n), nil
	}
	n, err := one(ctx, db.from(ctx), func(r pgx.Rows) (n int32, err error) { return n, r.Scan(&n) }, selectShards)
	if err != nil {
		return 0, fmt.Errorf("read how many shards the log has: %w", err)
	}
	db.shards.Store(n)
	return int(n), nil
}

// knowShards reads by the transaction's own connection: who holds one must not wait for another.
func (tx *Tx) knowShards(ctx context.Context) (int, error) {
	if n := tx.db.shards.Load(); n > 0 {
		return int(n), nil
	}
	var n int32
	b := &pgx.Batch{}
	b.Queue(selectShards).QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
	if err := tx.run(ctx, b); err != nil {
		return 0, fmt.Errorf("read how many shards the log has: %w", err)
	}
	tx.db.shards.Store(n)
	return int(n), nil
}

// ShardTopic names a shard of a sharded topic, as its readers subscribe to it. An only shard has the topic's own name.
func ShardTopic(topic string, shard, shards int) string {
	if shards == 1 {
		return topic
	}
	return topic + ":" + strconv.Itoa(shard)
}

// family is the topic without its shard.
func family(topic string) string {
	name, _, _ := strings.Cut(topic, ":")
	return name
}

// shardOf is where all that concerns a tenant is.
func shardOf(owner tenant.ID, shards int) int {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(owner))
	return int(hash.Sum32() % uint32(shards))
}

// record is a record to be appended, with the shard that its topic names.
type record struct {
	records.Record
	Shard int
}

// appended is what waits for the commit: a record, with the events that it names if it names any.
type appended struct {
	record
	accepted []acceptedRow
	again    *againRow
}

// append notes a record for the commit. A version that its stream has already is refused then.
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

// appendSharded appends to the tenant's shard of a topic.
func (tx *Tx) appendSharded(ctx context.Context, list ...records.Record) error {
	shards, err := tx.db.Shards(ctx)
	if err != nil {
		return err
	}
	for _, r := range list {
		shard := shardOf(r.Tenant, shards)
		r.Topic = ShardTopic(r.Topic, shard, shards)
		if err := tx.append(ctx, appended{record: record{r.Packed(), shard}}); err != nil {
			return err
		}
	}
	return nil
}

// Message is a record outside any stream, for a topic that is not sharded.
type Message struct {
	Topic, Type    string
	Tenant         tenant.ID
	Stream         string
	Data, Metadata []byte
	At             time.Time
}

// Publish appends messages.
func (tx *Tx) Publish(ctx context.Context, messages []Message) error {
	for _, m := range messages {
		err := tx.append(ctx, appended{record: record{Record: records.Record{Topic: m.Topic, Type: m.Type, Tenant: m.Tenant, Stream: m.Stream, Data: m.Data, Metadata: m.Metadata, At: m.At}}})
		if err != nil {
			return err
		}
	}
	return nil
}

// reads makes sure that a query in this transaction sees what was appended in it. The log's
// lock is then held from here on, and not only around the commit.
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

// fromLog is from, for a query over what concerned picks.
func (db *DB) fromLog(ctx context.Context, concerned func(appended) bool) (reader, error) {
	tx, ok := ctx.Value(txKey{}).(*Tx)
	if !ok {
		return looker{db}, nil
	}
	return tx, tx.reads(ctx, concerned)
}

// lockClass names the locks of the log among the advisory locks of the database ("ORDV").
const lockClass = 0x4F524456

// Who appends locks the order that he appends to: each shard has one for deliveries, and one for all else.
const lockOrders = `SELECT pg_advisory_xact_lock($1, l) FROM unnest($2::int[]) AS l`

func (r record) lock() int32 {
	if family(r.Topic) == records.TopicDeliveries {
		return int32(2*r.Shard + 1)
	}
	return int32(2 * r.Shard)
}

const insertRecords = `INSERT INTO records (position, topic, tenant_id, stream, version, type, data, metadata, recorded_at, week)
SELECT nextval('log_numbers') * $1 + shard, topic, tenant_id, stream, version, type, data, metadata, recorded_at, week
FROM unnest($2::int[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::bytea[], $9::bytea[], $10::bigint[], $11::smallint[])
  AS r (shard, topic, tenant_id, stream, version, type, data, metadata, recorded_at, week)`

// flush writes what waits, in one round trip. The locks come first and are held until the commit is visible, so
// whoever comes next draws higher positions and commits later: position order is commit order, and a reader
// takes what is beyond its offset and misses nothing. Therefore it is the last thing before the commit, which goes with it
// when the transaction's ID is known already.
func (tx *Tx) flush(ctx context.Context, committing bool) error {
	b := &pgx.Batch{QueuedQueries: tx.queued}
	tx.queued = nil
	if committing {
		b.QueuedQueries = append(b.QueuedQueries, tx.last...)
	}
	tx.proof = cmp.Or(tx.proof, proofOf(tx.pending))
	if err := tx.queueLog(ctx, b); err != nil {
		return tx.failed(ctx, err)
	}
	if committing {
		if note := tx.notification(); note != "" {
			b.Queue(`SELECT pg_notify($1, $2)`, channel, note)
		}
	}
	if b.Len() > 0 {
		tx.writes(b)
	}
	if tx.sent = committing && tx.xid != ""; tx.sent {
		queueCommit(b)
	}
	if b.Len() == 0 {
		return nil
	}
	if err := tx.run(ctx, b); err != nil {
		return tx.failed(ctx, fmt.Errorf("write what waited, and append to the log: %w", err))
	}
	tx.pending = nil
	return nil
}

// queueLog locks the orders that records are appended to, and appends what waits.
func (tx *Tx) queueLog(ctx context.Context, b *pgx.Batch) error {
	if len(tx.pending) == 0 {
		return nil
	}
	shards, err := tx.knowShards(ctx)
	if err != nil {
		return err
	}
	var locks []int32
	for _, a := range tx.pending {
		locks = append(locks, a.lock())
	}
	slices.Sort(locks)
	b.Queue(lockOrders, lockClass, slices.Compact(locks))
	queuePending(b, tx.pending, shards)
	return nil
}

// queuePending keeps the order in which the records were appended.
func queuePending(b *pgx.Batch, pending []appended, shards int) {
	for len(pending) > 0 {
		if anyEvent(pending[0]) {
			queueEvents(b, pending[0], shards)
			pending = pending[1:]
			continue
		}
		n := slices.IndexFunc(pending, anyEvent)
		if n < 0 {
			n = len(pending)
		}
		queueRecords(b, pending[:n], shards)
		pending = pending[n:]
	}
}

func queueEvents(b *pgx.Batch, a appended, shards int) {
	if a.again != nil {
		queueAgain(b, a, shards)
	} else {
		queueAccepted(b, a, shards)
	}
}

func queueRecords(b *pgx.Batch, run []appended, shards int) {
	n := len(run)
	shard, version, at, week := make([]int32, n), make([]int64, n), make([]int64, n), make([]int16, n)
	topic, owner, stream, kind := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	data, meta := make([][]byte, n), make([][]byte, n)
	for i, r := range run {
		shard[i], version[i], at[i], week[i] = int32(r.Shard), r.Version, r.At.UnixMicro(), r.week()
		topic[i], owner[i], stream[i], kind[i] = r.Topic, string(r.Tenant), r.Stream, r.Type
		data[i], meta[i] = r.Data, r.Metadata
	}
	b.Queue(insertRecords, int64(shards), shard, topic, owner, stream, version, kind, data, meta, at, week)
}

const recordColumns = `position, tenant_id, stream, version, type, data, metadata, recorded_at`

// scanRecord leaves data and metadata as they are stored.
func scanRecord(r pgx.Rows) (s records.Record, err error) {
	var at int64
	err = r.Scan(&s.Position, &s.Tenant, &s.Stream, &s.Version, &s.Type, &s.Data, &s.Metadata, &at)
	s.At = time.UnixMicro(at).UTC()
	return s, err
}

// byVersion orders a stream. The index by stream does not, which would then have an entry for each record.
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
	for i := range list { // not while the rows are read: what cannot be unpacked would fail the transaction
		if err := list[i].Unpack(); err != nil {
			return nil, err
		}
	}
	return list, nil
}
