package simulation

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/signature"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// overlaps are those of rotations: some end while things fail, and the notice of some is due then.
var overlaps = []time.Duration{0, 15 * time.Second, 100 * time.Second, time.Hour}

// noticeWithin bounds how late a notice is told once nothing fails: a process looks each minute.
const noticeWithin = 2 * time.Minute

// rotate is a keeper of secrets: the overlaps of what it rotates end while the run lasts, so that their ends are due to be announced.
func (w *world) rotate(a *activity) {
	for range 1 + w.office.IntN(3) {
		a.sleep(w.now.Add(time.Duration(w.office.Int64N(int64(30*time.Second)))), nil)
		states, p := w.store.States(), w.processes[w.office.IntN(len(w.processes))]
		if p.dead || p.stopping {
			continue
		}
		lane, overlap := laneOf(states[w.office.IntN(len(states))]), time.Duration(1+w.office.Int64N(60))*time.Second
		_, _, err := p.subs.RotateSecret(context.Background(), lane, subscriptions.AnyVersion, overlap, subscriptions.Actor{})
		w.trace.line("keeper: rotate %s for %s by %s: %v", lane.SubscriptionID, overlap, p.name, err)
	}
}

// checkSigned holds a request to the secrets that were valid when it was signed, by the version of the subscription that was leased.
func (w *world) checkSigned(s *send, l *dispatch.Leased, r dispatch.Request) {
	sub := w.subscriptionAt(s.lane, l.Subscription.Version)
	unix, err := strconv.ParseInt(r.Headers[signature.HeaderTimestamp], 10, 64)
	must(err)
	known := w.store.SecretsOf(s.lane) // also those that were forgotten meanwhile
	second := time.Unix(unix, 0)       // in which an overlap may end
	for _, at := range []time.Time{second, second.Add(time.Second - time.Microsecond)} {
		var standard []secret.Secret
		for _, id := range sub.Secrets.ForStandard(at) {
			standard = append(standard, known[id])
		}
		signed := signature.Sign(r.Body, second, s.event, known[sub.Secrets.ForBody(at)], standard...)
		if signed.Body == r.Headers[signature.HeaderBody] && signed.Standard == r.Headers[signature.HeaderStandard] {
			return
		}
	}
	w.violate("signed", "%s is not signed with what was valid for %s at %s: %+v", s.delivery, sub.ID, second.Sub(epoch), sub.Secrets)
}

// subscriptionAt is the subscription at a version, by its stream.
func (w *world) subscriptionAt(lane dispatch.Lane, version int64) (sub subscription.Subscription) {
	for i, placed := range w.store.SubscriptionStream(lane) {
		if int64(i) < version {
			must(sub.Apply(placed.Change))
		}
	}
	return sub
}

// checkFresh holds a request to the subscription that there was when the delivery was leased: checkHeld says how long ago that
// may be. What the lease itself claims proves nothing.
func (w *world) checkFresh(s *send, l *dispatch.Leased, r dispatch.Request) {
	held, known := w.journal.leased[lease{s.delivery, s.version}]
	if !known || held.process != s.process {
		return
	}
	sub := w.subscriptionAt(s.lane, held.subscription)
	if l.Subscription.Version != sub.Version || r.URL != sub.URL || r.Timeout != sub.Timeout {
		w.violate("I2", "%s was sent to %s by version %d of %s, which was at %d when it was leased: %s", s.delivery, r.URL, l.Subscription.Version, sub.ID, sub.Version, sub.URL)
	}
}

// checkNotices is what must be true of rotations in the end: each was announced once at the most, and none was forgotten
// that could be announced.
func (w *world) checkNotices() {
	ctx := context.Background()
	told := map[subscriptions.Notice]int{} // by the end of the overlap
	for _, e := range w.everAccepted() {
		if e.Type == event.SecretRotationEnding {
			told[subscriptions.Notice{Lane: dispatch.Lane{Tenant: e.TenantID, SubscriptionID: e.Subscription.ID}, At: e.SecretRotation.OverlapEnd.UTC()}]++
			w.counts.Announced++
		}
	}
	waiting, err := w.store.NextNotices(ctx, subscriptions.Notice{}, 1000)
	must(err)
	for _, n := range waiting {
		if late := w.now.Sub(later(n.At, w.calm)); late > noticeWithin {
			w.violate("notice", "that of %s waits since %s", n.SubscriptionID, late)
		}
	}
	for _, s := range w.store.States() {
		history, err := w.store.SubscriptionHistory(ctx, laneOf(s))
		must(err)
		for i, h := range history {
			at, _ := subscription.NoticeOf(h.Change)
			if at.IsZero() {
				continue
			}
			end := h.Change.(subscription.SecretRotationStarted).OverlapEnd
			n := subscriptions.Notice{Lane: laneOf(s), At: at.UTC()}
			times := told[subscriptions.Notice{Lane: n.Lane, At: end.UTC()}]
			superseded := slices.ContainsFunc(history[i+1:], func(next subscriptions.Recorded) bool {
				_, concerned := subscription.NoticeOf(next.Change)
				return concerned
			})
			ended, known := w.journal.noticed[n]
			switch {
			case times > 1:
				w.violate("notice", "the end of a rotation of %s was announced %d times", s.ID, times)
			case times == 0 && !superseded && !slices.Contains(waiting, n) && (!known || ended.Before(end)):
				w.violate("notice", "the end of a rotation of %s was never announced, and is forgotten", s.ID)
			}
		}
	}
}

// Of notices.

func (s *session) NextNotices(ctx context.Context, after subscriptions.Notice, limit int) ([]subscriptions.Notice, error) {
	return read(ctx, s, "NextNotices", func(ctx context.Context) ([]subscriptions.Notice, error) {
		return s.Store.NextNotices(ctx, after, limit)
	})
}

// EndNotice notes when, by what the clock of who did it was read to be: it may have jumped since.
func (s *session) EndNotice(ctx context.Context, n subscriptions.Notice) (bool, error) {
	return write(ctx, s, "EndNotice", func(ctx context.Context) (bool, error) {
		ended, err := s.Store.EndNotice(ctx, n)
		if ended {
			n.At = n.At.UTC()
			s.p.world.journal.noticed[n] = s.p.noticed
		}
		return ended, err
	})
}
