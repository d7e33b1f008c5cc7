package dispatch

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/loop"
)

// How often a process says that it lives, and after which silence its leases are taken over.
const (
	HeartbeatInterval = time.Second
	HeartbeatTimeout  = 5 * time.Second
)

const maxTakenOverAtOnce = 500

// Takeover keeps this process's heartbeat and takes over what dead ones held.
type Takeover struct {
	store        Store
	incarnations Incarnations
	now          func() time.Time
	incarnation  string
}

// NewTakeover makes a Takeover for one incarnation of a process.
func NewTakeover(store Store, incarnations Incarnations, now func() time.Time, incarnation string) *Takeover {
	return &Takeover{store: store, incarnations: incarnations, now: now, incarnation: incarnation}
}

// Heartbeat is the loop of every process.
func (t *Takeover) Heartbeat() loop.Loop {
	return loop.Loop{Name: "heartbeat", Step: t.HeartbeatStep}
}

// Loop takes over, where deliveries are sent.
func (t *Takeover) Loop() loop.Loop { return loop.Loop{Name: "takeover", Step: t.TakeOverStep} }

// HeartbeatStep says that this process lives.
func (t *Takeover) HeartbeatStep(ctx context.Context) (time.Time, error) {
	now := t.now()
	if err := t.incarnations.Heartbeat(ctx, t.incarnation, now); err != nil {
		return time.Time{}, fmt.Errorf("heartbeat: %w", err)
	}
	return now.Add(HeartbeatInterval), nil
}

// TakeOverStep abandons attempts whose holder is dead and makes their deliveries due.
func (t *Takeover) TakeOverStep(ctx context.Context) (time.Time, error) {
	now := t.now()
	seen, err := t.incarnations.Orphans(ctx, now.Add(-HeartbeatTimeout), 1)
	if err != nil {
		return time.Time{}, fmt.Errorf("look for orphans: %w", err)
	}
	if len(seen) == 0 {
		return now.Add(HeartbeatInterval), nil
	}
	if err := t.store.InTx(ctx, t.takeOver); err != nil {
		return time.Time{}, fmt.Errorf("take over what dead processes held: %w", err)
	}
	return now, nil
}

// takeOver begins with this process's own heartbeat, in the same transaction: whatever kept it from beating,
// a process never takes over what it holds itself.
func (t *Takeover) takeOver(ctx context.Context) error {
	now := t.now()
	if err := t.incarnations.Heartbeat(ctx, t.incarnation, now); err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	orphans, err := t.incarnations.Orphans(ctx, now.Add(-HeartbeatTimeout), maxTakenOverAtOnce)
	if err != nil {
		return fmt.Errorf("look for orphans: %w", err)
	}
	saved, unknown := make([]Saved, 0, len(orphans)), map[string][]Leased{}
	for _, o := range orphans {
		if CheckStatus(o.Delivery) != nil { // it keeps none of the others: who leases it next has it
			unknown[o.Lease] = append(unknown[o.Lease], Leased{Delivery: o.Delivery})
			continue
		}
		changes, err := o.Delivery.Abandon(o.Schedule, o.LeasedAt, now)
		if err != nil {
			return fmt.Errorf("abandon %s: %w", o.Delivery.ID, err)
		}
		after, err := Apply(o.Delivery, changes)
		if err != nil {
			return fmt.Errorf("abandon %s: %w", o.Delivery.ID, err)
		}
		saved = append(saved, Saved{Before: o.Delivery, After: after, Changes: changes, Lease: o.Lease})
	}
	for _, lease := range slices.Sorted(maps.Keys(unknown)) {
		if err := t.store.GiveBack(ctx, lease, unknown[lease]); err != nil {
			return err
		}
	}
	// Somebody else may have been faster: those are skipped as stale, and nothing is lost.
	if _, err := t.store.Save(ctx, saved); err != nil {
		return fmt.Errorf("save %d deliveries: %w", len(saved), err)
	}
	return nil
}
