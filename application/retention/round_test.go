package retention_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/tenant"
)

func everybody(owners []tenant.ID) ([]tenant.ID, error) { return owners, nil }

// What cannot be deleted of one tenant, since its rows are damaged or its lock is held, keeps nothing of the others'.
func TestATenantThatFailsHoldsUpNoOther(t *testing.T) {
	damaged := errors.New("damaged")
	for name, look := range map[string]func([]tenant.ID) ([]tenant.ID, error){
		"all have something": everybody,
		"nobody can tell":    func([]tenant.ID) ([]tenant.ID, error) { return nil, damaged },
	} {
		var round retention.Round
		purged, failed := map[tenant.ID]int{}, 0
		for range 6 {
			_, err := round.Go([]tenant.ID{"c", "b", "a"}, 1, look, func(owner tenant.ID, _ int) (int, error) {
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
			t.Errorf("%s: got to purge %v, and failed %d times", name, purged, failed)
		}
	}
}

// Of very many tenants those are purged that have something old, in their order, whatever the store's.
func TestOnlyWhoHasSomethingOldIsPurged(t *testing.T) {
	var tenants, purged []tenant.ID
	for i := range 2000 {
		tenants = append(tenants, tenant.ID(fmt.Sprintf("t%04d", i)))
	}
	looks := 0
	look := func(owners []tenant.ID) (old []tenant.ID, _ error) {
		looks++
		for _, want := range []tenant.ID{"t1999", "t0007", "t0003"} {
			if slices.Contains(owners, want) {
				old = append(old, want)
			}
		}
		return old, nil
	}
	var round retention.Round
	for range 2 {
		if _, err := round.Go(tenants, 2, look, func(owner tenant.ID, _ int) (int, error) { purged = append(purged, owner); return 1, nil }); err != nil {
			t.Fatal(err)
		}
	}
	if want := []tenant.ID{"t0003", "t0007", "t0007", "t1999"}; !slices.Equal(purged, want) || looks > 10 {
		t.Errorf("%v were purged by %d looks, want %v", purged, looks, want)
	}
}
