package memory_test

import (
	"testing"

	"github.com/ordinavo/webhooks/adapters/storetest"
	"github.com/ordinavo/webhooks/tests/simulation/memory"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Database {
		s := memory.New()
		return storetest.Database{Store: s, ReachFanOut: s.ReachFanOut, MoveSecret: s.MoveSecret, Close: s.Close}
	})
}
