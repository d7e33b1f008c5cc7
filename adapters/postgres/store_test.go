package postgres_test

import (
	"testing"

	"github.com/ordinavo/webhooks/adapters/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, openStore)
}

func TestSuiteFindsPlantedBugs(t *testing.T) {
	t.Parallel()
	storetest.FindPlantedBugs(t, migratedStore)
}

func TestReplaysThatOverlap(t *testing.T) {
	t.Parallel()
	storetest.Overlap(t, migratedStore(t))
}
