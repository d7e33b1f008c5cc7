package topics

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/compact"
	"github.com/ordinavo/webhooks/adapters/eventlog"
)

// Read finds what comes next for the group; nothing when it is another process's turn.
func (s *source) Read(ctx context.Context, look eventlog.Look) (eventlog.Found, error) {
	seen, err := s.see(ctx, look, false)
	if err != nil {
		return seen.Found, err
	}
	if s.othersTurn(seen) && !s.db.Gone(ctx, seen.holder) {
		return eventlog.Found{From: seen.From, Standby: true}, nil
	}
	if !seen.mine && len(seen.Records) > 0 && seen.holder != s.db.Name() { // nobody makes progress with these
		if seen, err = s.see(ctx, look, true); err != nil {
			return seen.Found, err
		}
	}
	seen.Standby = !seen.mine && len(seen.Records) > 0
	return seen.Found, nil
}

// othersTurn leaves the turn to the process that acknowledged last, as long as it makes progress with what there is.
func (s *source) othersTurn(seen seen) bool {
	if seen.holder == "" || seen.holder == s.db.Name() || len(seen.Records) == 0 {
		s.seenSince = time.Time{}
		return false
	}
	if s.seenSince.IsZero() || s.seenFrom != seen.From {
		s.seenFrom, s.seenSince = seen.From, time.Now()
	}
	return time.Since(s.seenSince) < s.patience
}

// seen is the result of one look at the log: where the group's offset is, who moved it last, and what comes after it.
type seen struct {
	eventlog.Found
	mine   bool // this process had the group's lock when it looked
	holder string
}

// see looks by a statement of its own; with takesOver it tries the lock in any case.
func (s *source) see(ctx context.Context, look eventlog.Look, takesOver bool) (found seen, err error) {
	err = s.db.Query(ctx, func(rows pgx.Rows) error {
		var r eventlog.Record
		var position, version, at *int64
		var tenantID, stream, kind *string
		err := rows.Scan(&found.mine, &found.From, &found.holder, &position, &tenantID, &stream, &version, &kind, &r.Data, &r.Metadata, &at)
		if err != nil || position == nil {
			return err
		}
		r.Position, r.Version, r.TenantID, r.Stream, r.Type = *position, *version, *tenantID, *stream, *kind
		beside := compact.Row{Tenant: r.TenantID, Stream: r.Stream, RecordedAt: *at}
		switch metadata, data, err := beside.Unpack(r.Metadata, r.Data); {
		case err == nil:
			r.Metadata, r.Data = metadata, data
		case !look.AsStored:
			return fmt.Errorf("position %d: %w", r.Position, err)
		}
		found.Records = append(found.Records, r)
		return nil
	}, selectRecords, s.lock(), s.key.Group, s.key.Topic, look.Limit, s.db.Name(), takesOver, look.Bytes)
	return found, err
}
