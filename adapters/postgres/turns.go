package postgres

import (
	"context"
	"encoding/json"
	"hash/fnv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// turnClass names the locks held by whoever has a tenant's turn, one per tenant ("ORDT").
const turnClass = 0x4F524454

const (
	// deferring finds where each tenant's waiting events begin, tenant by tenant. With a join, a planner that believes the table empty would
	// read everything that waits; see sameDelivery. The same goes for takeDeferred.
	deferring = `SELECT k.tenant_id, (SELECT d.sequence FROM deferred_events d WHERE d.tenant_id = k.tenant_id AND d.sequence >= k.sequence
    ORDER BY d.sequence LIMIT 1) FROM unnest($1::text[], $2::bigint[]) AS k (tenant_id, sequence)`

	nextTurn = `SELECT tenant_id, sequence FROM deferred_events WHERE (tenant_id, sequence) >= ($1, $2) AND tenant_id < $3 ORDER BY tenant_id, sequence LIMIT 1`

	deferredOf = `SELECT sequence, events FROM deferred_events WHERE tenant_id = $1 AND sequence >= $2 ORDER BY sequence LIMIT $3`

	namedFrom = `SELECT sequence, event_id FROM events WHERE tenant_id = $1 AND sequence >= $2 AND sequence < $3 ORDER BY sequence`

	beforeDeferred = `SELECT least($2::bigint, (SELECT min(sequence) FROM deferred_events WHERE tenant_id = $1))`

	// takeDeferred fails when some of it is gone.
	takeDeferred = `WITH taken AS (
    DELETE FROM deferred_events d USING unnest($1::text[], $2::bigint[]) AS k (tenant_id, sequence)
    WHERE d.tenant_id = ANY(ARRAY[k.tenant_id]) AND d.sequence = k.sequence RETURNING 1
) SELECT 1 / (count(*) >= $3)::int FROM taken`

	insertDeferred = `INSERT INTO deferred_events (tenant_id, sequence, events) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bytea[])`

	// mayDefer judges a process without a listening connection by its heartbeat.
	mayDefer = `SELECT NOT EXISTS (SELECT 1 FROM incarnations i WHERE NOT knows_turns AND CASE WHEN session IS NULL THEN heartbeat_at >= $1
    ELSE EXISTS (SELECT 1 FROM pg_stat_activity a WHERE a.application_name = i.session) END)`
)

// waitingFrom walks the index from one tenant to the next, and looks at the record of each one's oldest event.
var waitingFrom = `WITH RECURSIVE waiting AS (
    (SELECT tenant_id, sequence FROM deferred_events WHERE tenant_id > '' ORDER BY tenant_id, sequence LIMIT 1)
    UNION ALL
    SELECT next.* FROM waiting CROSS JOIN LATERAL (
        SELECT tenant_id, sequence FROM deferred_events WHERE tenant_id > waiting.tenant_id ORDER BY tenant_id, sequence LIMIT 1) AS next
) SELECT w.tenant_id, r.recorded_at FROM waiting w CROSS JOIN LATERAL (SELECT recorded_at FROM records
    WHERE topic = '` + records.TopicEvents + `' AND position = w.sequence / ` + perRecord + ` LIMIT 1) AS r`

// fannedOut is the sequence before which all events of the tenant $1 are fanned out.
var fannedOut = `least((1 + coalesce((SELECT position FROM consumer_offsets WHERE consumer_group = '` + fanout.Group + `' AND topic = '` + records.TopicEvents + `'), -1)) * ` + perRecord + `,
    (SELECT min(sequence) FROM deferred_events WHERE tenant_id = $1))`

// queueDeferring finds which of the tenants have events waiting for their turn.
func (s *Store) queueDeferring(b *pgx.Batch, owners []tenant.ID) map[tenant.ID]bool {
	of := map[tenant.ID]bool{}
	if len(owners) == 0 {
		return of
	}
	now := time.Now()
	from, started := make([]int64, len(owners)), make(map[tenant.ID]bool, len(owners))
	for i, owner := range owners {
		from[i], started[owner] = s.turns.from(owner, now)
	}
	b.Queue(deferring, texts(owners), from).Query(rowByRow(func(rows pgx.Rows) error {
		var id tenant.ID
		var first *int64
		err := rows.Scan(&id, &first)
		s.turns.looked(id, first, now, started[id])
		if first != nil {
			of[id] = true
		}
		return err
	}))
	return of
}

// NextTurn is the tenant whose turn comes after another's; see fanout.TurnStore.
func (s *Store) NextTurn(ctx context.Context, after tenant.ID) (tenant.ID, error) {
	w, b := newTurnWalk(after, s.turns.longest(), time.Now()), &pgx.Batch{}
	w.queue(b)
	if err := s.db.from(ctx).send(ctx, b); err != nil {
		return "", err
	}
	w.moveHeads(&s.turns)
	return w.next(), nil
}

// DeferredOf lists what waits for the tenant, oldest first, unless another transaction has the tenant's turn. The lock is taken before the
// statement that lists, which therefore sees what the last turn left.
func (s *Store) DeferredOf(ctx context.Context, owner tenant.ID, limit int) (parts []fanout.Deferred, err error) {
	mine, now := false, time.Now()
	from, start := s.turns.from(owner, now)
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(owner))
	b := &pgx.Batch{}
	b.Queue(`SELECT pg_try_advisory_xact_lock($1::int, $2::int)`, turnClass, int32(hash.Sum32())).QueryRow(func(row pgx.Row) error { return row.Scan(&mine) })
	b.Queue(deferredOf, owner, from, limit).Query(func(rows pgx.Rows) error {
		var first *int64
		err := rowByRow(func(rows pgx.Rows) error {
			var sequence int64
			var events []byte
			if err := rows.Scan(&sequence, &events); err != nil {
				return err
			}
			if first == nil {
				first = &sequence
			}
			parts = append(parts, records.Deferred(owner, sequence, events))
			return nil
		})(rows)
		if err == nil {
			s.turns.looked(owner, first, now, start)
		}
		return err
	})
	if err := s.db.from(ctx).send(ctx, b); err != nil || !mine {
		return nil, err
	}
	for i := range parts {
		if parts[i].Unreadable == nil {
			continue
		}
		if parts[i].Events, err = s.namedFrom(ctx, parts[i]); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// namedFrom finds the events of a part whose names cannot be read.
func (s *Store) namedFrom(ctx context.Context, d fanout.Deferred) ([]fanout.Named, error) {
	named, err := all(ctx, s.db.from(ctx), func(r pgx.Rows) (fanout.Named, error) {
		var sequence int64
		var id string
		err := r.Scan(&sequence, &id)
		return records.NamedAt(sequence, id), err
	}, namedFrom, d.Tenant, records.SequenceOf(d), (d.Position+1)*records.MaxEventsPerRecord)
	return fanout.FromPlace(d.Events[0].Place, named), err
}

func queueDeferred(b *pgx.Batch, taken, deferred []fanout.Deferred) error {
	if len(taken) > 0 {
		owners, sequences := deferredKeys(taken)
		b.QueuedQueries = append(b.QueuedQueries, deciding(records.ErrTaken, takeDeferred, owners, sequences, len(taken)))
	}
	if len(deferred) == 0 {
		return nil
	}
	owners, sequences := deferredKeys(deferred)
	encoded := make([][]byte, len(deferred))
	for i, d := range deferred {
		var err error
		if encoded[i], err = json.Marshal(d.Events); err != nil {
			return err
		}
	}
	b.Queue(insertDeferred, owners, sequences, encoded)
	return nil
}

func deferredKeys(list []fanout.Deferred) (owners []string, sequences []int64) {
	for _, d := range list {
		owners, sequences = append(owners, string(d.Tenant)), append(sequences, records.SequenceOf(d))
	}
	return owners, sequences
}

// WaitingFrom is when each tenant's oldest deferred events were recorded; see intake.BacklogStore.
func (s *Store) WaitingFrom(ctx context.Context) (map[tenant.ID]time.Time, error) {
	of := map[tenant.ID]time.Time{}
	err := s.db.from(ctx).query(ctx, func(r pgx.Rows) error {
		var id tenant.ID
		var from int64
		err := r.Scan(&id, &from)
		of[id] = moment(&from)
		return err
	}, waitingFrom)
	return of, err
}

// MayDefer looks for processes that do not know of turns; see fanout.TurnStore.
func (s *Store) MayDefer(ctx context.Context, since time.Time) (bool, error) {
	return one(ctx, s.db.from(ctx), value[bool], mayDefer, stamp(since))
}
