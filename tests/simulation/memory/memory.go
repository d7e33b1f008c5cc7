// Package memory keeps all that the application asks of a database in maps. It is the store of the
// simulation: it passes the same contract suite as the real ones, knows no time and no chance of its own,
// and undoes a transaction at the cost of what that wrote.
package memory

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/secret"
)

// Store is one database. It is safe for concurrent use: one transaction at a time works, the others wait.
type Store struct {
	// Committed hears, after each commit, of the topics that were appended to and whether what is due has
	// changed; nil for nobody.
	Committed func(topics []string, queue bool)

	mu   sync.Mutex
	over bool // after Close
	tables

	everySecret map[dispatch.Lane]map[string]secret.Secret // for who inspects
}

// ErrClosed is the answer to everything after Close.
var ErrClosed = errors.New("the database is closed")

// New makes an empty database.
func New() *Store {
	return &Store{tables: newTables(), everySecret: map[dispatch.Lane]map[string]secret.Secret{}}
}

// tx is a transaction with the way back from it.
type tx struct {
	undo   []func()
	ended  []func(committed bool)
	topics []string
	queue  bool
	broken error // a statement was interrupted: nothing of the transaction can be kept
}

type txKey struct{}

// InTx runs fn in a transaction that its context carries, or joins the one that ctx carries.
func (s *Store) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	return s.update(ctx, func(ctx context.Context, _ *tx) error { return fn(ctx) })
}

// update runs fn in a transaction. In one that is joined, what fn wrote before it failed is undone.
func (s *Store) update(ctx context.Context, fn func(ctx context.Context, tx *tx) error) error {
	if joined, ok := ctx.Value(txKey{}).(*tx); ok {
		if err := joined.usable(ctx); err != nil {
			return err
		}
		before := len(joined.undo)
		err := fn(ctx, joined)
		if err != nil {
			joined.back(before)
		}
		return err
	}
	begun, err := s.begin(ctx)
	if err != nil {
		return err
	}
	committed := false
	defer func() { s.end(begun, committed) }() // on a panic, too
	if err := fn(context.WithValue(ctx, txKey{}, begun), begun); err != nil {
		return err
	}
	if begun.broken != nil {
		return begun.broken
	}
	committed = true
	return nil
}

func (s *Store) begin(ctx context.Context) (*tx, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	return &tx{}, nil
}

func (s *Store) end(ending *tx, committed bool) {
	if !committed {
		ending.back(0)
	}
	s.mu.Unlock()
	if committed && s.Committed != nil && (len(ending.topics) > 0 || ending.queue) {
		s.Committed(ending.topics, ending.queue)
	}
	for _, fn := range ending.ended {
		fn(committed)
	}
}

func (tx *tx) usable(ctx context.Context) error {
	if tx.broken == nil && ctx.Err() != nil {
		tx.broken = context.Cause(ctx)
	}
	return tx.broken
}

// back undoes what was written since there were so many steps to undo.
func (tx *tx) back(to int) {
	for i := len(tx.undo) - 1; i >= to; i-- {
		tx.undo[i]()
	}
	tx.undo = tx.undo[:to]
}

func (tx *tx) appended(topic string) {
	if !slices.Contains(tx.topics, topic) {
		tx.topics = append(tx.topics, topic)
	}
}

// read begins a read: in the transaction of ctx, else of what is committed. The caller calls done.
func (s *Store) read(ctx context.Context) (done func(), err error) {
	if joined, ok := ctx.Value(txKey{}).(*tx); ok {
		return func() {}, joined.usable(ctx)
	}
	if _, err := s.begin(ctx); err != nil {
		return func() {}, err
	}
	return s.mu.Unlock, nil
}

// Ping gives a sign of life.
func (s *Store) Ping(ctx context.Context) error {
	done, err := s.read(ctx)
	defer done()
	return err
}

// Close ends the store; a second call does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	return nil
}

// Joined reports whether ctx carries a transaction.
func Joined(ctx context.Context) bool { return ctx.Value(txKey{}) != nil }

// Break makes the transaction of ctx, if there is one, fail as after a statement that failed: nothing of it is kept.
func Break(ctx context.Context, err error) {
	if joined, ok := ctx.Value(txKey{}).(*tx); ok && joined.broken == nil {
		joined.broken = err
	}
}
