package memory

import (
	"context"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// NoteCircuits replaces what the incarnation told of these lanes.
func (s *Store) NoteCircuits(ctx context.Context, incarnation string, reports []dispatch.CircuitReport) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		for _, r := range reports {
			k := keyOf(r.Tenant, r.SubscriptionID, incarnation)
			if r.Report == (circuit.Report{}) {
				s.circuits.drop(tx, k)
			} else {
				s.circuits.put(tx, k, r.Report)
			}
		}
		return nil
	})
}

// Circuits tells of the tenant's receivers that are spared; see rest.CircuitReader.
func (s *Store) Circuits(ctx context.Context, owner tenant.ID, subscriptionIDs []string, heartbeatSince time.Time) (map[string]circuit.Report, error) {
	done, err := s.read(ctx)
	defer done()
	found := map[string]circuit.Report{}
	for k, report := range s.circuits.under(string(owner)) {
		beat, known := s.incarnations.get(keyOf("", k[2]))
		if !known || beat.Before(heartbeatSince) || !slices.Contains(subscriptionIDs, k[1]) {
			continue
		}
		if before, seen := found[k[1]]; !seen || longer(report, before) {
			found[k[1]] = report
		}
	}
	return found, err
}

// longer reports whether a spares the receiver more than b.
func longer(a, b circuit.Report) bool {
	if in := a.Until.Compare(b.Until); in != 0 {
		return in > 0
	}
	return a.Window < b.Window
}

func (s *Store) forgetCircuits(tx *tx) {
	for _, k := range slices.Clone(s.circuits.keys) {
		if _, lives := s.incarnations.get(keyOf("", k[2])); !lives {
			s.circuits.drop(tx, k)
		}
	}
}
