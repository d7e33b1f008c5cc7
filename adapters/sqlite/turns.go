package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const (
	deferring = `SELECT k.value FROM json_each(?) k WHERE EXISTS (SELECT 1 FROM deferred_events d WHERE d.tenant_id = k.value)`

	nextTurn = `SELECT coalesce((SELECT tenant_id FROM deferred_events WHERE tenant_id > ?1 ORDER BY tenant_id LIMIT 1),
	(SELECT tenant_id FROM deferred_events WHERE tenant_id > '' ORDER BY tenant_id LIMIT 1), '')`

	deferredOf = `SELECT sequence, events FROM deferred_events WHERE tenant_id = ? ORDER BY sequence LIMIT ?`

	namedFrom = `SELECT sequence, event_id FROM events WHERE tenant_id = ? AND sequence >= ? AND sequence < ? ORDER BY sequence`
)

// perRecord is how many sequence numbers each position of the log has, for statements.
var perRecord = strconv.Itoa(records.MaxEventsPerRecord)

var (
	// waitingFrom walks the tenants by the index, from one to the next, and looks at the oldest record of each.
	waitingFrom = `WITH RECURSIVE next (tenant_id) AS (SELECT min(tenant_id) FROM deferred_events
	UNION ALL SELECT (SELECT min(d.tenant_id) FROM deferred_events d WHERE d.tenant_id > next.tenant_id) FROM next WHERE next.tenant_id IS NOT NULL)
	SELECT next.tenant_id, r.recorded_at FROM next CROSS JOIN records r WHERE next.tenant_id IS NOT NULL
	AND r.position = (SELECT min(d.sequence) FROM deferred_events d WHERE d.tenant_id = next.tenant_id) / ` + perRecord

	// fannedOut is the sequence before which all of a tenant's events are fanned out; ?1 is the tenant.
	fannedOut = `min((1 + coalesce((SELECT position FROM consumer_offsets WHERE consumer_group = '` + fanout.Group + `' AND topic = '` + records.TopicEvents + `'), -1)) * ` + perRecord + `,
	coalesce((SELECT min(sequence) FROM deferred_events WHERE tenant_id = ?1), 9223372036854775807))`
)

// deferring tells which of the tenants have events that wait for their turn.
func (s *Store) deferring(ctx context.Context, owners []tenant.ID) (map[tenant.ID]bool, error) {
	wanted, err := list(owners)
	if err != nil {
		return nil, err
	}
	found, err := all(ctx, s.db, value[tenant.ID], deferring, wanted)
	of := map[tenant.ID]bool{}
	for _, id := range found {
		of[id] = true
	}
	return of, err
}

// NextTurn is the tenant whose turn comes after another's; see fanout.TurnStore.
func (s *Store) NextTurn(ctx context.Context, after tenant.ID) (tenant.ID, error) {
	return one(ctx, s.db, value[tenant.ID], nextTurn, after)
}

// DeferredOf lists the tenant's deferred events, oldest first. There is one writer, so no other process can take them meanwhile.
func (s *Store) DeferredOf(ctx context.Context, owner tenant.ID, limit int) ([]fanout.Deferred, error) {
	parts, err := all(ctx, s.db, func(r *sql.Rows) (d fanout.Deferred, err error) {
		var sequence int64
		var events []byte
		err = r.Scan(&sequence, &events)
		return records.Deferred(owner, sequence, events), err
	}, deferredOf, owner, limit)
	for i := range parts {
		if d := &parts[i]; d.Unreadable != nil && err == nil {
			d.Events, err = s.namedFrom(ctx, *d)
		}
	}
	return parts, err
}

// namedFrom finds the events of a deferred part whose names cannot be read.
func (s *Store) namedFrom(ctx context.Context, d fanout.Deferred) ([]fanout.Named, error) {
	named, err := all(ctx, s.db, func(r *sql.Rows) (fanout.Named, error) {
		var sequence int64
		var id string
		err := r.Scan(&sequence, &id)
		return records.NamedAt(sequence, id), err
	}, namedFrom, d.Tenant, records.SequenceOf(d), (d.Position+1)*records.MaxEventsPerRecord)
	return fanout.FromPlace(d.Events[0].Place, named), err
}

// WaitingFrom is when the oldest of each tenant's deferred events were accepted; see intake.BacklogStore.
func (s *Store) WaitingFrom(ctx context.Context) (map[tenant.ID]time.Time, error) {
	of := map[tenant.ID]time.Time{}
	err := s.db.query(ctx, func(r *sql.Rows) error {
		var id tenant.ID
		var from sql.NullInt64
		err := r.Scan(&id, &from)
		of[id] = moment(from)
		return err
	}, waitingFrom)
	return of, err
}

// MayDefer is true: no other process has the file.
func (s *Store) MayDefer(context.Context, time.Time) (bool, error) { return true, nil }

func (tx *Tx) moveDeferred(ctx context.Context, taken, deferred []fanout.Deferred) error {
	for _, d := range taken {
		n, err := tx.Exec(ctx, `DELETE FROM deferred_events WHERE tenant_id = ? AND sequence = ?`, d.Tenant, records.SequenceOf(d))
		if err == nil && n == 0 {
			err = records.ErrTaken
		}
		if err != nil {
			return fmt.Errorf("take the turn of tenant %s: %w", d.Tenant, err)
		}
	}
	for _, d := range deferred {
		events, err := json.Marshal(d.Events)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO deferred_events (tenant_id, sequence, events) VALUES (?, ?, ?)`, d.Tenant, records.SequenceOf(d), string(events)); err != nil {
			return fmt.Errorf("defer events of tenant %s: %w", d.Tenant, err)
		}
	}
	return nil
}
