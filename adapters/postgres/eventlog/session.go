package eventlog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"

	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/compact"
)

// errUnexpected says that watermill-sql asked for something that its version 4.1.2 does not.
var errUnexpected = errors.New("an unexpected query of watermill-sql")

// lock is the group's among the advisory locks of the database.
func (k groupTopic) lock() int64 {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(k.group + "\x00" + k.topic))
	return int64(hash.Sum64())
}

// beginner gives watermill-sql a session for each batch.
type beginner struct{ *reader }

// BeginTx begins nothing in the database yet.
func (b beginner) BeginTx(context.Context, *sql.TxOptions) (wsql.Tx, error) {
	if b.ctx.Err() != nil {
		return nil, context.Cause(b.ctx)
	}
	b.current = nil
	return &session{b.reader}, nil
}

// ExecContext is not asked for outside a session.
func (beginner) ExecContext(context.Context, string, ...any) (wsql.Result, error) {
	return nil, errUnexpected
}

// QueryContext is not asked for outside a session.
func (beginner) QueryContext(context.Context, string, ...any) (wsql.Rows, error) {
	return nil, errUnexpected
}

// session is what watermill-sql takes for a transaction: one batch from its reading to its acknowledgement.
type session struct{ *reader }

// QueryContext reads the batch by a statement of its own.
func (s *session) QueryContext(_ context.Context, query string, args ...any) (wsql.Rows, error) {
	if query != selectRecords {
		return nil, errUnexpected
	}
	found, err := s.read(query, args)
	return &rows{list: found}, err
}

// read finds what comes next for the group, nothing when it is another process's turn.
func (r *reader) read(query string, args []any) ([]row, error) {
	found, err := r.look(query, args)
	if err != nil {
		return nil, err
	}
	if r.othersTurn(found.holder, found.from, len(found.rows) > 0) && !r.log.db.Gone(r.ctx, found.holder) {
		r.standby = true
		return nil, nil
	}
	if !found.mine && len(found.rows) > 0 && found.holder != r.log.db.Name() { // nobody gets on with these
		if found, err = r.look(query, takingOver(args)); err != nil {
			return nil, err
		}
	}
	if r.standby = !found.mine && len(found.rows) > 0; r.standby || len(found.rows) == 0 {
		return nil, nil
	}
	r.current = &delivery{db: r.log.db, key: r.key, from: found.from, rows: found.rows}
	return found.rows, nil
}

// takingOver are the arguments of a look that tries the lock in any case.
func takingOver(args []any) []any {
	args = slices.Clone(args)
	args[takesOver] = true
	return args
}

// found is what a look at the log gave: where the group's offset is, who moved it last, and what comes behind it.
type found struct {
	mine   bool // this process had the group's lock when it looked
	from   int64
	holder string
	rows   []row
}

func (r *reader) look(query string, args []any) (f found, err error) {
	err = r.log.db.Query(r.ctx, func(rs pgx.Rows) error {
		var next row
		var position, version, at *int64
		var tenantID, stream, kind *string
		err := rs.Scan(&f.mine, &f.from, &f.holder, &position, &tenantID, &stream, &version, &kind, &next.data, &next.metadata, &at)
		if err != nil || position == nil {
			return err
		}
		next.position, next.version, next.tenantID, next.stream, next.kind = *position, *version, *tenantID, *stream, *kind
		beside := compact.Row{Tenant: next.tenantID, Stream: next.stream, RecordedAt: *at}
		switch metadata, data, err := beside.Unpack(next.metadata, next.data); {
		case err == nil:
			next.metadata, next.data = metadata, data
		case r.failures < unreadableAfter:
			return fmt.Errorf("position %d: %w", next.position, err)
		}
		f.rows = append(f.rows, next)
		return nil
	}, query, args...)
	return f, err
}

// ExecContext makes what the handlers wrote durable, with the offset. Its error is that of the commit, too.
func (s *session) ExecContext(_ context.Context, query string, args ...any) (wsql.Result, error) {
	if query != moveOffset && query != beginOffset {
		return nil, errUnexpected
	}
	// What was acknowledged before a close is kept.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.options.AckDeadline)
	defer cancel()
	return affected(1), s.current.commit(ctx, query, args)
}

// Commit comes behind the acknowledgement, which has committed, or in its place when there was none.
func (s *session) Commit() error { return s.Rollback() }

// Rollback undoes what is not committed.
func (s *session) Rollback() error {
	if s.current == nil {
		return nil
	}
	return s.current.rollback()
}

// rows were read to their end.
type rows struct {
	list []row
	next int
}

func (r *rows) Next() bool {
	r.next++
	return r.next <= len(r.list)
}

func (r *rows) Scan(dest ...any) error {
	to, ok := dest[0].(*row)
	if !ok {
		return errUnexpected
	}
	*to = r.list[r.next-1]
	return nil
}

func (r *rows) Close() error { return nil }
