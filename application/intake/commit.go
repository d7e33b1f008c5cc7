package intake

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Submission is one caller's request on its way into a commit.
type Submission struct {
	stage   atomic.Int32
	owner   tenant.ID  // of its events; empty when they are of several
	number  int64      // in the order in which they came
	count   int        // of its events
	events  []Accepted // from here on, whoever changed the stage has it
	keep    Keep
	holds   []hold     // of room for what the events come to
	fresh   []Accepted // those of events that were not known
	results []Result
	err     error
	why     Reason // of a refusal that is about room
	done    chan struct{}
}

// The stages of a submission. It leaves the first one once.
const (
	stageQueued  = iota
	stageClaimed // by a transaction
	stageWithdrawn
)

// claim is false when the submission was withdrawn.
func (s *Submission) claim() bool {
	return s.stage.CompareAndSwap(stageQueued, stageClaimed) || s.stage.Load() == stageClaimed
}

// claimed is those of the group that were not withdrawn, which nobody can withdraw any more.
func claimed(group []*Submission) []*Submission {
	return slices.DeleteFunc(group, func(s *Submission) bool { return !s.claim() })
}

// Loop commits what waits. It takes what is there, and never waits for more company.
func (in *Intake) Loop() loop.Loop {
	return loop.Loop{Name: "intake", Step: in.Step, Wake: in.wake}
}

// Step commits at most a commit's worth of what waits.
func (in *Intake) Step(ctx context.Context) (time.Time, error) {
	group := in.gather(nil)
	if len(group) == 0 {
		return time.Time{}, nil
	}
	in.commit(ctx, group) // all get the answer at once if the transaction cannot begin
	return in.now(), nil
}

// gather adds what waits to the group, up to a commit's worth.
func (in *Intake) gather(group []*Submission) []*Submission {
	events := 0
	for _, s := range group {
		events += s.count
	}
	for events < maxPerCommit {
		s := in.queue.take()
		if s == nil {
			break
		}
		if s.stage.Load() == stageQueued {
			group = append(group, s)
			events += s.count
		}
	}
	slices.SortFunc(group, func(a, b *Submission) int { return cmp.Compare(a.number, b.number) }) // as they came
	return group
}

// commit answers each submission once the transaction that holds its events is durable.
// An error of the transaction is everybody's answer: nobody was told "accepted".
func (in *Intake) commit(ctx context.Context, group []*Submission) {
	var fresh []Accepted
	err := in.store.InTx(ctx, func(ctx context.Context) error {
		fresh, group = nil, claimed(in.gather(group)) // SQLite's writer may have been waited for
		if len(group) == 0 {
			return nil
		}
		known, err := in.known(ctx, group)
		if err != nil {
			return err
		}
		for _, s := range group {
			if err := in.decide(ctx, s, known); err != nil {
				return err
			}
			fresh = append(fresh, s.fresh...)
		}
		if err := in.countSent(ctx, fresh); err != nil {
			return err
		}
		return in.store.AppendEvents(ctx, fresh)
	})
	if err != nil {
		fresh = nil
	}
	group = claimed(group) // if the transaction did not begin
	if len(group) == 0 && err == nil {
		return // all were withdrawn: it says nothing of the store
	}
	in.remember(err)
	in.Recent.add(fresh)
	in.backlog.settle(group, fresh)
	for _, s := range group {
		if err != nil {
			s.err = fmt.Errorf("accept events: %w", err)
		}
		in.observe(ctx, s)
		in.queue.done(s)
		close(s.done)
	}
}

// known is what the store knows about the group's events and tenants.
type known struct {
	Known
	sent map[tenant.ID]int // today; nil without a quota
}

func (in *Intake) known(ctx context.Context, group []*Submission) (known, error) {
	var keys []EventKey
	for _, s := range group {
		for _, a := range s.events {
			keys = append(keys, a.Key())
		}
	}
	found, err := in.store.Known(ctx, keys)
	if err != nil {
		return known{}, fmt.Errorf("look for duplicates and tenants: %w", err)
	}
	sent, err := in.sentToday(ctx, found.Tenants)
	return known{found, sent}, err
}

// decide sorts the submission's events into new ones and duplicates and keeps its answer, or refuses all of it. What it accepts
// is known to those decided after it.
func (in *Intake) decide(ctx context.Context, s *Submission, k known) error {
	mine := s.sort(k)
	if s.err == nil {
		if err := in.withinQuota(s, k.sent); err != nil {
			s.refuse(err)
			s.why = ReasonEventsPerDay
		}
	}
	if s.err == nil && s.keep != nil {
		if err := s.keep(ctx, s.results); problem.Is(err, problem.Conflict) {
			s.refuse(err)
		} else if err != nil {
			return err
		}
	}
	if s.err == nil {
		k.add(mine)
	}
	return nil
}

// add notes what is accepted.
func (k known) add(events map[EventKey][32]byte) {
	maps.Copy(k.Fingerprints, events)
	if k.sent == nil {
		return
	}
	for key := range events {
		k.sent[key.Tenant]++
	}
}

// sort returns the fingerprints of the new events.
func (s *Submission) sort(k known) (mine map[EventKey][32]byte) {
	s.results, s.fresh, s.err, s.why = make([]Result, len(s.events)), nil, nil, ""
	missing := problem.Collect("")
	mine = map[EventKey][32]byte{}
	for i, a := range s.events {
		if !k.Tenants[a.TenantID] {
			missing.Add(fieldPath(i, "tenantId"), "names a tenant that does not exist")
			continue
		}
		print, duplicate := k.Fingerprints[a.Key()]
		if !duplicate {
			print, duplicate = mine[a.Key()]
		}
		if duplicate && print != a.Fingerprint {
			s.refuse(&problem.Error{Code: problem.IdempotencyConflict, Detail: "An event with this eventId and other content was accepted before.",
				Fields: map[string][]string{fieldPath(i, "eventId"): {"is taken by an event with other content"}}})
			return nil
		}
		s.results[i] = Result{EventID: a.ID, Duplicate: duplicate}
		if !duplicate {
			mine[a.Key()] = a.Fingerprint
			s.fresh = append(s.fresh, a)
		}
	}
	if err := missing.Err(); err != nil {
		s.refuse(err)
	}
	return mine
}

func (s *Submission) refuse(err error) { s.results, s.fresh, s.err = nil, nil, err }

func fieldPath(index int, field string) string { return fmt.Sprintf("events[%d].%s", index, field) }

func (in *Intake) observe(ctx context.Context, s *Submission) {
	if s.why != "" {
		in.observer.EventsRefused(ctx, s.why, len(s.events))
	}
	if s.err != nil {
		return
	}
	types := make([]event.Type, len(s.fresh))
	for i, a := range s.fresh {
		types[i] = a.Type
	}
	in.observer.EventsAccepted(ctx, types, len(s.results)-len(s.fresh))
}
