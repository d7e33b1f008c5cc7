package share_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/ordinavo/webhooks/application/share"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// crowd notes who got a slot, in order, and gives them back one by one.
type crowd struct {
	*testing.T
	slots *share.Slots
	got   []tenant.ID
	leave map[tenant.ID][]func()
}

func newCrowd(t *testing.T, slots int) *crowd {
	return &crowd{T: t, slots: share.NewSlots(slots), leave: map[tenant.ID][]func(){}}
}

// come asks for a slot for each of the tenants, one after the other.
func (c *crowd) come(owners ...tenant.ID) {
	for _, owner := range owners {
		go func() {
			leave, err := c.slots.Enter(share.For(c.Context(), owner))
			if err != nil {
				c.Error(err)
				return
			}
			c.got, c.leave[owner] = append(c.got, owner), append(c.leave[owner], leave)
		}()
		synctest.Wait()
	}
}

func (c *crowd) leaves(owner tenant.ID) {
	leave := c.leave[owner][0]
	c.leave[owner] = c.leave[owner][1:]
	leave()
	synctest.Wait()
}

func (c *crowd) wants(got ...tenant.ID) {
	c.Helper()
	if !slices.Equal(c.got, got) {
		c.Errorf("slots were lent to %v, want %v", c.got, got)
	}
	c.got = nil
}

func TestATenantLeavesASlotToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 3)
		c.come("noisy", "noisy", "noisy", "noisy")
		c.wants("noisy", "noisy")
		c.come("quiet")
		c.wants("quiet")
		c.leaves("quiet")
		c.wants()
		c.leaves("noisy")
		c.leaves("noisy")
		c.wants("noisy", "noisy")
		c.leaves("noisy")
		c.leaves("noisy")
		c.come("noisy", "noisy")
		c.wants("noisy", "noisy")
		c.leaves("noisy")
		c.leaves("noisy")
	})
}

func TestTenantsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 1)
		c.come("noisy", "noisy", "noisy", "noisy", "quiet", "", "quiet")
		c.wants("noisy")
		for _, owner := range []tenant.ID{"noisy", "noisy", "quiet", "", "noisy", "quiet", "noisy"} {
			c.leaves(owner)
		}
		c.wants("noisy", "quiet", "", "noisy", "quiet", "noisy")
	})
}

// Whoever gives up waits no longer, and takes nobody's turn.
func TestWhoGivesUpTakesNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, why := newCrowd(t, 1), errors.New("gone")
		c.come("first")
		ctx, cancel := context.WithCancelCause(share.For(t.Context(), "gone"))
		ended := make(chan error)
		go func() {
			_, err := c.slots.Enter(ctx)
			ended <- err
		}()
		synctest.Wait()
		c.come("next")
		cancel(why)
		if err := <-ended; !errors.Is(err, why) {
			t.Errorf("it ended with %v", err)
		}
		c.leaves("first")
		c.wants("first", "next")
		c.leaves("next")
		c.come("last")
		c.wants("last")
		c.leaves("last")
	})
}

// One that is lent a slot as it gives up keeps it from nobody.
func TestNoSlotIsLost(t *testing.T) {
	for range 1000 {
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, 1)
			c.come("first")
			ctx, cancel := context.WithCancel(share.For(t.Context(), "second"))
			ended := make(chan func())
			go func() {
				leave, _ := c.slots.Enter(ctx)
				ended <- leave
			}()
			synctest.Wait()
			go cancel()
			c.leaves("first")
			if leave := <-ended; leave != nil {
				leave()
			}
			c.come("third")
			c.wants("first", "third")
			c.leaves("third")
		})
	}
}

func TestWhatNobodyAskedForIsTheServices(t *testing.T) {
	for _, ctx := range []context.Context{t.Context(), share.Own(share.For(t.Context(), "acme"))} {
		if owner, asked := share.Of(ctx); owner != "" || asked {
			t.Errorf("%q asked: %t", owner, asked)
		}
	}
	for _, owner := range []tenant.ID{"", "acme"} {
		if got, asked := share.Of(share.For(t.Context(), owner)); got != owner || !asked {
			t.Errorf("%q asked: %t", got, asked)
		}
	}
}
