package eventlogtest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/eventlog"
	"github.com/ordinavo/webhooks/adapters/probe"
	"github.com/ordinavo/webhooks/adapters/wakeup"
)

// bugs are planted one at a time; the check beside each must find it.
var bugs = map[string]struct {
	check string
	plant func(eventlog.Database) eventlog.Database
}{
	"the newest comes first":              {"answers/the offset is never beyond what was acknowledged", sourced(func(s eventlog.Source) eventlog.Source { return newestFirst{s} })},
	"a batch has no end in bytes":         {"batches/end with their bytes", looking(func(l eventlog.Look) eventlog.Look { l.Bytes = 1 << 20; return l })},
	"what failed does not come alone":     {"batches/kept together", looking(func(l eventlog.Look) eventlog.Look { l.Limit = 10; return l })},
	"what is damaged is tried for ever":   {"messages/one that is damaged holds nobody up", looking(func(l eventlog.Look) eventlog.Look { l.AsStored = false; return l })},
	"the offset stands still":             {"answers/effects and offset commit together", sourced(func(s eventlog.Source) eventlog.Source { return offsetStands{s} })},
	"the offset moves by itself":          {"answers/the deadline takes a message back", sourced(func(s eventlog.Source) eventlog.Source { return keepsAll{s} })},
	"what was refused is kept":            {"answers/a nack leaves nothing and comes again", sourced(func(s eventlog.Source) eventlog.Source { return keepsAll{s} })},
	"effects are written beside":          {"answers/closing in the middle of a handler", sourced(func(s eventlog.Source) eventlog.Source { return outside{s} })},
	"nobody asks where the offset is":     {"groups/a moved offset is respected", sourced(func(s eventlog.Source) eventlog.Source { return fromAnywhere{s} })},
	"two processes keep one message":      {"groups/two processes keep a message once", sourced(func(s eventlog.Source) eventlog.Source { return fromAnywhere{s} })},
	"all groups are one":                  {"groups/independent", func(db eventlog.Database) eventlog.Database { return oneGroup{db} }},
	"nobody is woken":                     {"messages/a commit wakes the reader", func(db eventlog.Database) eventlog.Database { return deaf{db} }},
	"metadata is forgotten":               {"messages/keep what they carry", func(db eventlog.Database) eventlog.Database { return forgetful{db} }},
	"what was published is one by itself": {"answers/a failed handler is settled in a new transaction", func(db eventlog.Database) eventlog.Database { return appendsTwice{db} }},
}

// FindPlantedBugs proves that the suite, which finds nothing without them, can fail on a database.
func FindPlantedBugs(t *testing.T, open func(t *testing.T) Database) {
	for name, bug := range bugs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(Checks(), func(c Check) bool { return c.Name == bug.check })
			if i < 0 {
				t.Fatalf("there is no check %s", bug.check)
			}
			db := open(t)
			another := db.Another
			db.Database = bug.plant(db.Database)
			db.Another = func() Database {
				db := another()
				db.Database = bug.plant(db.Database)
				return db
			}
			found := probe.Findings(bug.check, func(probed T) {
				w := NewWorld(t.Context(), probed, db)
				defer w.Close()
				w.patience = 2 * time.Second // a log with a bug may never do what is waited for
				Checks()[i].run(w)
			})
			if len(found) == 0 {
				t.Errorf("%q did not find the bug", bug.check)
			}
		})
	}
}

// planted is a database whose sources have a bug.
type planted struct {
	eventlog.Database
	in func(eventlog.Source) eventlog.Source
}

func sourced(in func(eventlog.Source) eventlog.Source) func(eventlog.Database) eventlog.Database {
	return func(db eventlog.Database) eventlog.Database { return planted{db, in} }
}

func (p planted) Source(key eventlog.GroupTopic, o eventlog.Options) eventlog.Source {
	return p.in(p.Database.Source(key, o))
}

func looking(change func(eventlog.Look) eventlog.Look) func(eventlog.Database) eventlog.Database {
	return sourced(func(s eventlog.Source) eventlog.Source { return looks{s, change} })
}

// Each type is the real source, database or transaction with one bug.
type (
	looks struct {
		eventlog.Source
		change func(eventlog.Look) eventlog.Look
	}
	newestFirst  struct{ eventlog.Source }
	offsetStands struct{ eventlog.Source }
	keepsAll     struct{ eventlog.Source }
	keepingTx    struct{ eventlog.Tx }
	outside      struct{ eventlog.Source }
	outsideTx    struct{ eventlog.Tx }
	fromAnywhere struct{ eventlog.Source }
	oneGroup     struct{ eventlog.Database }
	deaf         struct{ eventlog.Database }
	forgetful    struct{ eventlog.Database }
	appendsTwice struct{ eventlog.Database }
)

func (s looks) Read(ctx context.Context, l eventlog.Look) (eventlog.Found, error) {
	return s.Source.Read(ctx, s.change(l))
}

func (s newestFirst) Read(ctx context.Context, l eventlog.Look) (eventlog.Found, error) {
	l.Limit, l.Bytes = 1000, 1<<20
	found, err := s.Source.Read(ctx, l)
	slices.Reverse(found.Records)
	return found, err
}

func (s offsetStands) Begin(ctx context.Context, from, _ int64) (eventlog.Tx, error) {
	return s.Source.Begin(ctx, from, from)
}

func (s keepsAll) Begin(ctx context.Context, from, to int64) (eventlog.Tx, error) {
	tx, err := s.Source.Begin(ctx, from, to)
	if err != nil {
		return nil, err
	}
	return keepingTx{tx}, nil
}

func (t keepingTx) Rollback() error { return t.Commit() }

func (s outside) Begin(ctx context.Context, from, to int64) (eventlog.Tx, error) {
	tx, err := s.Source.Begin(ctx, from, to)
	if err != nil {
		return nil, err
	}
	return outsideTx{tx}, tx.Rollback()
}

func (outsideTx) Context(ctx context.Context) context.Context { return ctx }
func (outsideTx) Commit() error                               { return nil }
func (outsideTx) Rollback() error                             { return nil }

func (s fromAnywhere) Begin(ctx context.Context, _, to int64) (eventlog.Tx, error) {
	found, err := s.Read(ctx, eventlog.Look{Limit: 1, Bytes: 1, AsStored: true})
	if err != nil {
		return nil, err
	}
	return s.Source.Begin(ctx, found.From, to)
}

func (d oneGroup) Source(key eventlog.GroupTopic, o eventlog.Options) eventlog.Source {
	key.Group = "one"
	return d.Database.Source(key, o)
}

func (deaf) WatchTopic(string) *wakeup.Watch { return new(wakeup.Signals).WatchTopic("") }

func (d forgetful) Append(ctx context.Context, topic string, records []eventlog.Record, at time.Time) error {
	for i := range records {
		records[i].TenantID, records[i].Stream = "", ""
	}
	return d.Database.Append(ctx, topic, records, at)
}

func (d appendsTwice) Append(ctx context.Context, topic string, records []eventlog.Record, at time.Time) error {
	return d.Database.Append(ctx, topic, append(records, records...), at)
}
