package live

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// Why a listener is let go.
var (
	// ErrSlow says that it did not take what it was told. It can resume.
	ErrSlow = errors.New("the listener did not keep up")
	// ErrRevoked says that its API key is revoked or has expired.
	ErrRevoked = errors.New("the API key is revoked or has expired")
	// ErrClosing says that the process is about to stop. It can resume with another.
	ErrClosing = errors.New("the service is about to stop")
	// ErrInterrupted says that the log could not be read for a moment. It can resume.
	ErrInterrupted = errors.New("the log could not be read")
)

// buffered is how many changes wait for a listener at most.
const buffered = 256

// Listener hears of changes of one tenant's deliveries. It is for one goroutine.
type Listener struct {
	hub     *Hub
	owner   tenant.ID
	keyID   string
	filter  Filter
	since   Mark
	changes chan *Change

	once   sync.Once
	ended  chan struct{}
	reason error // set when ended is closed
}

// Since is the mark behind which the listener hears of everything.
func (l *Listener) Since() Mark { return l.since }

// Changes are those that the filter picks, oldest first, and a beat now and then: a change without a delivery, which
// tells by its position how far the listener has heard all.
func (l *Listener) Changes() <-chan *Change { return l.changes }

// Ended is closed when the listener was let go; Reason says why.
func (l *Listener) Ended() <-chan struct{} { return l.ended }

// Reason is why the listener was let go; for after Ended.
func (l *Listener) Reason() error { return l.reason }

// Leave ends the listening. It may be called more than once.
func (l *Listener) Leave() { l.hub.forget(l) }

// IsBeat reports whether the change is only a sign of life.
func (c *Change) IsBeat() bool { return c.ID == "" }

// hear never waits.
func (l *Listener) hear(c *Change) {
	if !c.IsBeat() && !l.filter.Matches(c.Delivery) {
		return
	}
	select {
	case <-l.ended: // what comes behind a gap is not told
	default:
		select {
		case l.changes <- c:
		default:
			l.end(ErrSlow)
		}
	}
}

func (l *Listener) end(reason error) {
	l.once.Do(func() {
		l.reason = reason
		close(l.ended)
	})
}

// Bounds of a replay: it reads whatever was recorded since, of all tenants.
const (
	replaysAtOnce = 4 // that read; none of them waits for its client meanwhile
	// MaxReplay is how many records a replay reads at most.
	MaxReplay  = 200_000
	replayPart = 1_000 // of them at once, which are held until the client has them
)

// ErrTooOld says that too much was recorded since the mark, that some of it may be deleted, or that the log has no such mark.
var ErrTooOld = errors.New("what was recorded since cannot be replayed")

// Replay gives emit the changes behind a mark that the listener was not told: those up to Since. Then
// Changes goes on. It fails with ErrTooOld before the first, and with what emit fails.
func (l *Listener) Replay(ctx context.Context, seen Mark, emit func(Change) error) error {
	if err := l.mustReach(ctx, seen); err != nil {
		return err
	}
	for after := seen.Position; after < l.since.Position; {
		if err := l.mustStop(); err != nil {
			return err
		}
		upTo := min(l.since.Position, after+replayPart)
		changes, err := l.part(ctx, after, upTo)
		if err != nil {
			return err
		}
		for _, c := range changes {
			if err := emit(c); err != nil {
				return err
			}
		}
		after = upTo
	}
	return nil
}

// part reads what the filter picks of a stretch of the log, in its turn.
func (l *Listener) part(ctx context.Context, after, upTo int64) (changes []Change, err error) {
	select {
	case l.hub.replay <- struct{}{}:
		defer func() { <-l.hub.replay }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	records, err := l.hub.log.TenantDeliveryRecords(ctx, l.owner, after, upTo)
	if err != nil {
		return nil, fmt.Errorf("read the changes of deliveries: %w", err)
	}
	_, err = show(ctx, l.hub.log, records, func(c Change) { // the step told of what was odd
		if l.filter.Matches(c.Delivery) {
			changes = append(changes, c)
		}
	})
	return changes, err
}

// mustStop is why nothing more is to be told. A listener that is behind goes on, so that it gets somewhere.
func (l *Listener) mustStop() error {
	select {
	case <-l.ended:
		if !errors.Is(l.reason, ErrSlow) {
			return l.reason
		}
	default:
	}
	return nil
}

// mustReach refuses a mark that cannot be replayed from.
func (l *Listener) mustReach(ctx context.Context, seen Mark) error {
	head, err := l.hub.log.DeliveryHead(ctx)
	if err != nil {
		return fmt.Errorf("find the end of the log: %w", err)
	}
	since, kept := l.since.Position, l.hub.limits.Kept
	deleted := kept > 0 && l.since.At.Sub(seen.At) > kept
	if deleted || seen.Position < 0 || seen.Position > max(since, head) || since-seen.Position > MaxReplay {
		return ErrTooOld
	}
	return nil
}
