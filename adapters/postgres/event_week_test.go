package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/event"
)

// madeAt is an event with an ID of a time.
func madeAt(t *testing.T, made time.Time, n int) event.Event {
	t.Helper()
	var id ulid.ULID
	if err := id.SetTime(uint64(made.UnixMilli())); err != nil {
		t.Fatal(err)
	}
	if err := id.SetEntropy([]byte(fmt.Sprintf("%010d", n))); err != nil {
		t.Fatal(err)
	}
	e := event.Sample(event.VisitReportApproved, "acme")
	e.ID = "evt_" + id.String()
	return e
}

// TestAnEventIsFoundWhereverItIs accepts events at any time, with IDs of any other.
func TestAnEventIsFoundWhereverItIs(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	now := time.Now()
	week := now.Truncate(time.Second).Add(-time.Duration(now.Unix()%(7*86400)) * time.Second)
	var times []time.Time
	for _, around := range []time.Time{week.Add(-14 * day), week, now, week.Add(7 * day)} {
		times = append(times, around.Add(-2*time.Hour), around.Add(-time.Minute), around, around.Add(time.Minute), around.Add(2*time.Hour))
	}
	weekOf := func(at time.Time) int64 { return at.Unix() / (7 * 86400) }
	var keys, byOld []intake.EventKey
	for n, accepted := range times {
		var batch []intake.Accepted
		for m, made := range append(times, time.UnixMilli(0), now.AddDate(3, 0, 0), time.UnixMilli(1<<48-1)) {
			e := intake.Accepted{Event: madeAt(t, made, 100*n+m), At: accepted}
			batch, keys = append(batch, e), append(keys, e.Key())
			if made = made.Add(-time.Hour); weekOf(made) <= weekOf(accepted) || weekOf(made) > weekOf(now) {
				byOld = append(byOld, e.Key())
			}
		}
		w.ok(w.AppendEvents(t.Context(), batch))
	}
	find := func(by string, keys []intake.EventKey) {
		t.Helper()
		for _, key := range keys {
			known, err := w.Known(t.Context(), []intake.EventKey{key})
			if err != nil || len(known.Fingerprints) != 1 {
				t.Errorf("%s: %s is known to be %v, %v", by, key.ID, known, err)
			}
			if found, err := w.Events(t.Context(), []intake.EventKey{key}); err != nil || len(found) != 1 {
				t.Errorf("%s: %s is found as %v, %v", by, key.ID, found, err)
			}
		}
		if all, err := w.Events(t.Context(), keys); err != nil || len(all) != len(keys) {
			t.Errorf("%s: of %d together %d are found, %v", by, len(keys), len(all), err)
		}
	}
	find("as accepted", keys)
	w.purge()
	find("in weeks of their own", keys)
	w.ok(execute(t.Context(), w.direct, `UPDATE events SET week = accepted_at / 604800000000`))
	find("accepted by a process that does not know of weeks", byOld)
}

// TestAnEventIsAcceptedOnce has two processes accept it at once, in a week and where one week follows another.
func TestAnEventIsAcceptedOnce(t *testing.T) {
	t.Parallel()
	for _, isolation := range []string{"read committed", "repeatable read"} {
		t.Run(isolation, func(t *testing.T) {
			t.Parallel()
			acceptedOnce(t, newWeeks(t, func(direct string) string { return withDefault(t, direct, "default_transaction_isolation", isolation) }))
		})
	}
}

func acceptedOnce(t *testing.T, w *weeks) {
	begins := w.now.Truncate(time.Hour).Add(-time.Hour)
	for n, of := range [][2]time.Time{{begins.Add(day), begins.Add(day)}, {begins.Add(-time.Second), begins}, {begins.Add(time.Minute), begins.Add(-time.Minute)}} {
		e := madeAt(t, begins.Add(-time.Hour), n)
		var looked, ended sync.WaitGroup
		looked.Add(2)
		for _, at := range of {
			ended.Go(func() {
				tries := 0
				err := w.InTx(t.Context(), func(ctx context.Context) error {
					a := intake.Accepted{Event: e, At: at}
					known, err := w.Known(ctx, []intake.EventKey{a.Key()})
					if tries++; tries == 1 {
						looked.Done()
						looked.Wait()
					}
					if err != nil || len(known.Fingerprints) > 0 {
						return err
					}
					return w.AppendEvents(ctx, []intake.Accepted{a})
				})
				if err != nil {
					t.Errorf("accepted at %s: %v", at, err)
				}
			})
		}
		ended.Wait()
		if stored := count(t, w.direct, `SELECT count(*) FROM events WHERE event_id = '`+e.ID+`'`); stored != 1 {
			t.Errorf("%v: it is there %d times", of, stored)
		}
		w.purge()
	}
}
