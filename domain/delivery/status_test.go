package delivery_test

import (
	"slices"
	"testing"

	"github.com/ordinavo/webhooks/domain/delivery"
)

func TestStatuses(t *testing.T) {
	const yes = true
	want := map[delivery.Status]struct{ terminal, claimable, retryable bool }{
		"pending":     {claimable: yes},
		"delivering":  {},
		"retrying":    {claimable: yes, retryable: yes},
		"parked":      {},
		"succeeded":   {terminal: yes, retryable: yes},
		"dead_letter": {terminal: yes, retryable: yes},
		"cancelled":   {terminal: yes, retryable: yes},
	}
	if got := delivery.Statuses(); len(got) != len(want) {
		t.Fatalf("there are %d statuses, want %d", len(got), len(want))
	}
	for _, s := range delivery.Statuses() {
		w, known := want[s]
		if !known || s.IsTerminal() != w.terminal || s.IsClaimable() != w.claimable || s.IsRetryable() != w.retryable {
			t.Errorf("%s: terminal %t, claimable %t, retryable %t; want %+v", s, s.IsTerminal(), s.IsClaimable(), s.IsRetryable(), w)
		}
		if parsed, err := delivery.ParseStatus(string(s)); err != nil || parsed != s {
			t.Errorf("ParseStatus(%q) = %q, %v", s, parsed, err)
		}
	}
}

func TestAnUnknownStatusIsAnErrorAndMayNothing(t *testing.T) {
	for _, text := range []string{"", "Pending", "pending ", "failed", "dead-letter"} {
		if s, err := delivery.ParseStatus(text); err == nil {
			t.Errorf("ParseStatus(%q) = %q", text, s)
		}
		unknown := delivery.Status(text)
		if unknown.IsTerminal() || unknown.IsClaimable() || unknown.IsRetryable() || unknown.MayBecome(delivery.StatusPending) {
			t.Errorf("%q is taken for a status", text)
		}
	}
}

type step struct{ from, to delivery.Status }

// taken is every step that a command makes in one of the statuses, change by change and as a whole.
func taken(t *testing.T) map[step]bool {
	t.Helper()
	steps := map[step]bool{}
	commands := []command{
		record(took, short, start), record(failed, short, start), record(failed, nil, start), record(gone, short, start),
		abandon(short, start, start), park(start), release(start), requestRetry(start), cancel(start),
	}
	for from, given := range states() {
		for _, when := range commands {
			d := fold(t, given)
			decided, err := when(d)
			if err != nil {
				continue
			}
			for _, c := range decided {
				before := d.Status
				if err := d.Apply(c); err != nil {
					t.Fatal(err)
				}
				steps[step{before, d.Status}], steps[step{from, d.Status}] = true, true
			}
		}
	}
	return steps
}

func TestTheTableOfTransitionsIsWhatCommandsDo(t *testing.T) {
	steps := taken(t)
	for _, from := range delivery.Statuses() {
		for _, to := range delivery.Statuses() {
			if from == delivery.StatusDelivering || to == delivery.StatusDelivering {
				continue // a lease, not a change; see the next test
			}
			if got, want := from.MayBecome(to), steps[step{from, to}]; got != want {
				t.Errorf("%s may become %s: %t, but what the commands do says %t", from, to, got, want)
			}
		}
	}
}

// A lease makes what is claimable delivering; it ends with the attempt, is handed back, or is
// taken from a delivery that nobody wants any more. One that is held is never parked.
func TestTransitionsOfALease(t *testing.T) {
	var out []delivery.Status
	for _, s := range delivery.Statuses() {
		if s.MayBecome(delivery.StatusDelivering) != s.IsClaimable() {
			t.Errorf("%s may become delivering: %t, claimable: %t", s, !s.IsClaimable(), s.IsClaimable())
		}
		if delivery.StatusDelivering.MayBecome(s) {
			out = append(out, s)
		}
	}
	want := []delivery.Status{delivery.StatusPending, delivery.StatusRetrying, delivery.StatusSucceeded, delivery.StatusDeadLetter, delivery.StatusCancelled}
	if !slices.Equal(out, want) {
		t.Errorf("delivering may become %v, want %v", out, want)
	}
}

func TestAClosedDeliveryOnlyOpensByARetry(t *testing.T) {
	for s := range states() {
		for _, next := range delivery.Statuses() {
			if s.IsTerminal() && s.MayBecome(next) != (next == delivery.StatusPending) {
				t.Errorf("%s may become %s: %t", s, next, s.MayBecome(next))
			}
		}
	}
}
