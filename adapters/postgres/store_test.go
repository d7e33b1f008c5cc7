package postgres_test

import (
	"testing"

	"github.com/ordinavo/webhooks/adapters/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Database { return openStore(t, 1) })
}

func TestStoreWithShards(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Database { return openStore(t, 8) })
}

func TestSuiteFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	storetest.FindPlantedBugs(t, func(t *testing.T) storetest.Database { return migratedStore(t, 1) })
}
