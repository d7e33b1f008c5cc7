package storetest

import (
	"context"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var (
	failed    = dispatch.Ended{URL: settings().URL, Failures: 1}
	succeeded = dispatch.Ended{URL: settings().URL, Succeeded: true}
)

var healthChecks = []Check{
	{"health/since when a lane does nothing but fail", func(w *world) {
		a, b, sibling := w.subscribe(acme, nil), w.subscribe(other, nil), w.subscribe(acme, nil)
		note := func(now time.Time, lanes map[dispatch.Lane]dispatch.Ended, want map[dispatch.Lane]time.Time) {
			w.Helper()
			got, err := w.NoteHealth(w.ctx, lanes, now)
			w.ok(err, "note health")
			for lane := range lanes {
				equal(w, "failing since", got[lane].FailingSince, want[lane])
			}
		}
		la, lb, ls := laneOf(a), laneOf(b), laneOf(sibling)
		note(at(1), map[dispatch.Lane]dispatch.Ended{la: failed, lb: succeeded}, map[dispatch.Lane]time.Time{la: at(1)})
		note(at(2), map[dispatch.Lane]dispatch.Ended{la: failed, lb: failed}, map[dispatch.Lane]time.Time{la: at(1), lb: at(2)})
		note(at(2.5), map[dispatch.Lane]dispatch.Ended{ls: failed}, map[dispatch.Lane]time.Time{ls: at(2.5)})
		note(at(3), map[dispatch.Lane]dispatch.Ended{la: succeeded}, nil)
		note(at(4), map[dispatch.Lane]dispatch.Ended{la: failed, lb: failed, ls: failed}, map[dispatch.Lane]time.Time{la: at(4), lb: at(2), ls: at(2.5)})
		w.resume(w.pause(a, at(5)), at(6)) // begins anew
		note(at(7), map[dispatch.Lane]dispatch.Ended{la: failed, lb: failed}, map[dispatch.Lane]time.Time{la: at(7), lb: at(2)})
		w.change(b, func(s subscription.Subscription) ([]subscription.Change, error) {
			wanted := s.Settings
			wanted.Name = "renamed" // which mends nothing
			return s.Update(wanted, at(8))
		})
		note(at(9), map[dispatch.Lane]dispatch.Ended{lb: failed}, map[dispatch.Lane]time.Time{lb: at(2)})
	}},
	{"health/a subscription that has another URL begins anew", func(w *world) {
		s := w.subscribe(acme, func(wanted *subscription.Settings) { wanted.URL = "https://erp.example.com/hooks?a=<1>&b=\"ä\"" })
		before := s.URL
		move := func(url string, now time.Time) {
			s = w.change(s, func(s subscription.Subscription) ([]subscription.Change, error) {
				wanted := s.Settings
				wanted.URL = url
				return s.Update(wanted, now)
			})
		}
		note := func(now time.Time, ended dispatch.Ended, want ...dispatch.Health) {
			w.Helper()
			got, err := w.NoteHealth(w.ctx, map[dispatch.Lane]dispatch.Ended{laneOf(s): ended}, now)
			w.ok(err, "note health")
			var list []dispatch.Health
			for _, h := range got {
				list = append(list, h)
			}
			equal(w, "health", list, want)
		}
		note(at(1), dispatch.Ended{URL: before, Failures: 12}, dispatch.Health{FailingSince: at(1), Failures: 12, Reached: true})
		move(before+"&c=2", at(2))
		note(at(3), dispatch.Ended{URL: before, Failures: 12}) // it ended late
		note(at(4), dispatch.Ended{URL: s.URL, Failures: 3}, dispatch.Health{FailingSince: at(4), Failures: 3})
		note(at(5), dispatch.Ended{URL: before, Failures: 7})
		note(at(6), dispatch.Ended{URL: before, Succeeded: true})
		note(at(7), dispatch.Ended{URL: s.URL, Failures: 6}, dispatch.Health{FailingSince: at(4), Failures: 9})
		note(at(8), dispatch.Ended{URL: s.URL, Succeeded: true})
		note(at(9), dispatch.Ended{URL: s.URL, Failures: 1}, dispatch.Health{FailingSince: at(9), Failures: 1})
	}},
	{"health/failures in a row are reached once", func(w *world) {
		a, b := w.subscribe(acme, nil), w.subscribe(other, nil)
		note := func(s subscription.Subscription, ended dispatch.Ended, failures int, reached bool) {
			w.Helper()
			ended.URL = s.URL
			health, err := w.NoteHealth(w.ctx, map[dispatch.Lane]dispatch.Ended{laneOf(s): ended}, at(1))
			w.ok(err, "note health")
			if got := health[laneOf(s)]; got.Failures < failures || got.Reached != reached {
				w.Errorf("got %+v, want %d failures, reached: %t", got, failures, reached)
			}
		}
		note(a, dispatch.Ended{Failures: 4}, 4, false)
		note(b, dispatch.Ended{Failures: 9}, 9, false)
		note(a, dispatch.Ended{Failures: 5}, 9, false)
		note(a, dispatch.Ended{}, 9, false) // failures of operational events, which do not count
		note(a, dispatch.Ended{Failures: 7}, 10, true)
		note(a, dispatch.Ended{Failures: 12}, 10, false)
		note(b, dispatch.Ended{Failures: 3, Succeeded: true}, 0, false)
		note(b, dispatch.Ended{}, 0, false)
		note(b, dispatch.Ended{Failures: 9}, 9, false)
		note(b, dispatch.Ended{Failures: 1}, 10, true)
		a = w.resume(w.pause(a, at(5)), at(6)) // begins anew
		note(a, dispatch.Ended{Failures: 11}, 11, true)
	}},
	{"health/reached and rolled back is reached again", func(w *world) {
		s := w.subscribe(acme, nil)
		for range 2 {
			_ = w.InTx(w.ctx, func(ctx context.Context) error {
				health, err := w.NoteHealth(ctx, map[dispatch.Lane]dispatch.Ended{laneOf(s): {URL: s.URL, Failures: 10}}, at(1))
				w.ok(err, "note health")
				equal(w, "reached", health[laneOf(s)].Reached, true)
				return errCut
			})
		}
	}},
	{"notices/of rotations, the one that is due first", func(w *world) {
		a, b, c := w.subscribe(acme, nil), w.subscribe(other, nil), w.subscribe(acme, nil)
		w.notices(10)
		a, b, c = rotate(w, a, "sec_a", 8, at(0)), rotate(w, b, "sec_b", 4, at(1)), rotate(w, c, "sec_c", 168, at(2))
		na := subscriptions.Notice{Lane: laneOf(a), At: at(0).Add(6 * time.Hour)}
		nb := subscriptions.Notice{Lane: laneOf(b), At: at(1).Add(3 * time.Hour)}
		nc := subscriptions.Notice{Lane: laneOf(c), At: at(2).Add(144 * time.Hour)} // a day before its end
		w.notices(10, nb, na, nc)
		w.notices(2, nb, na)
		for _, want := range []bool{true, false} {
			ended, err := w.EndNotice(w.ctx, nb)
			w.ok(err, "end a notice")
			equal(w, "ended", ended, want)
		}
		w.change(a, func(s subscription.Subscription) ([]subscription.Change, error) { return s.CompleteRotation(at(5)) })
		w.notices(10, nc)
		c = rotate(w, c, "sec_d", 0, at(6)) // at once: nothing to tell
		w.notices(10)
		c = rotate(w, c, "sec_e", 1, at(7))
		stale, err := w.EndNotice(w.ctx, nc)
		w.ok(err, "end a notice")
		equal(w, "ended one that was replaced", stale, false)
		w.notices(10, subscriptions.Notice{Lane: laneOf(c), At: at(7).Add(45 * time.Minute)})
		c = rotate(w, c, "sec_f", 4, at(7200)) // which finds the notice of one that is over
		w.notices(10, subscriptions.Notice{Lane: laneOf(c), At: at(7200).Add(3 * time.Hour)})
		w.change(c, func(s subscription.Subscription) ([]subscription.Change, error) { return s.Delete(at(7201)) })
		w.notices(10)
	}},
	{"notices/behind one are those that come later, also at the same time", func(w *world) {
		var listed []subscriptions.Notice
		for _, of := range []struct {
			owner   tenant.ID
			rotated time.Time
		}{{acme, at(0)}, {acme, at(0)}, {other, at(0)}, {acme, at(9)}} {
			s := w.subscribe(of.owner, nil)
			rotate(w, s, "sec_a", 8, of.rotated)
			listed = append(listed, subscriptions.Notice{Lane: laneOf(s), At: of.rotated.Add(6 * time.Hour)})
		}
		var after subscriptions.Notice
		for _, want := range listed {
			got, err := w.NextNotices(w.ctx, after, 1)
			w.ok(err, "list notices")
			equal(w, "the next notice", got, []subscriptions.Notice{want})
			after = want
		}
		got, err := w.NextNotices(w.ctx, after, 1)
		w.ok(err, "list notices")
		equal(w, "notices behind the last", len(got), 0)
	}},
}

func rotate(w *world, s subscription.Subscription, id string, hours int, now time.Time) subscription.Subscription {
	return w.change(s, func(s subscription.Subscription) ([]subscription.Change, error) {
		return s.RotateSecret(id, time.Duration(hours)*time.Hour, now)
	})
}

// notices checks which are due first.
func (w *world) notices(limit int, want ...subscriptions.Notice) {
	w.Helper()
	got, err := w.NextNotices(w.ctx, subscriptions.Notice{}, limit)
	w.ok(err, "list notices")
	equal(w, "notices", append([]subscriptions.Notice{}, got...), append([]subscriptions.Notice{}, want...))
}
