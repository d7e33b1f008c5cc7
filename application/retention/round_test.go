package retention_test

import (
	"errors"
	"testing"

	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// What cannot be deleted of one tenant, since its rows are damaged or its lock is held, keeps nothing of the others'.
func TestATenantThatFailsHoldsUpNoOther(t *testing.T) {
	var round retention.Round
	purged, failed, damaged := map[tenant.ID]int{}, 0, errors.New("damaged")
	for range 6 {
		_, err := round.Go([]tenant.ID{"c", "b", "a"}, 1, func(owner tenant.ID, _ int) (int, error) {
			if owner == "b" {
				return 0, damaged
			}
			purged[owner]++
			return purged[owner] % 2, nil // one row, and then none
		})
		if errors.Is(err, damaged) {
			failed++
		}
	}
	if purged["a"] < 3 || purged["c"] < 2 || failed < 2 {
		t.Errorf("got to purge %v, and failed %d times", purged, failed)
	}
}
