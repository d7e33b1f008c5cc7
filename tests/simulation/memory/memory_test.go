package memory_test

import (
	"context"
	"testing"

	"github.com/ordinavo/webhooks/adapters/storetest"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/tests/simulation/memory"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Database {
		s := memory.New()
		return storetest.Database{Store: s, ReachFanOut: s.ReachFanOut, MoveSecret: s.MoveSecret, Damage: damage(s), CountRecords: s.CountRecords, Close: s.Close}
	})
}

// damage takes rows away; nothing else of a map can be damaged.
func damage(s *memory.Store) func(context.Context, delivery.Delivery, storetest.Damage) (bool, error) {
	return func(ctx context.Context, d delivery.Delivery, what storetest.Damage) (bool, error) {
		switch what {
		case storetest.NoBody:
			return true, s.DropBody(ctx, d)
		case storetest.NoState:
			return true, s.DropSubscription(ctx, d)
		}
		return false, nil
	}
}
