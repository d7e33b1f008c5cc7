package dispatcher_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/ports/dispatcher"
)

// defect panics wherever it is asked.
type defect struct{}

func (defect) Send(context.Context, dispatch.Request) delivery.Outcome { panic("hushhush") }

func (defect) OpenSecret(context.Context, tenant.ID, string, string) (secret.Secret, error) {
	panic("hushhush")
}

// A defect that one delivery brings out costs it an attempt, and the others nothing.
func TestAPanicIsAFailedAttempt(t *testing.T) {
	for name, broken := range map[string]dispatch.Attempter{"to send": {Sender: defect{}}, "to sign": {Secrets: defect{}}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{T: t}
				w.Dispatcher = dispatch.New(dispatch.Config{Store: w, Disabler: w, Observer: w, Now: time.Now, Jitter: func() float64 { return 0 }, Incarnation: "inc_1", MaxInFlight: 2})
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				a, heard := broken, 0
				if a.Observer, a.Now = w, time.Now; a.Secrets == nil {
					a.Secrets = w
				}
				a.Trouble = func(_ context.Context, _ dispatch.Leased, err error) {
					if _, ok := errors.AsType[*dispatch.Panic](err); ok {
						heard++
					}
				}
				ended := make(chan error, 1)
				go func() { ended <- dispatcher.Run(ctx, ctx, w.Dispatcher, &a) }()
				w.start(1)
				stop()
				<-ended
				w.record()
				if len(w.saved) != 1 || heard != 1 || w.InFlight() != 0 {
					t.Fatalf("recorded %+v, heard of %d panics", w.saved, heard)
				}
				failed, ok := w.saved[0].Changes[0].(delivery.AttemptFailed)
				if !ok || failed.Attempt.Error != "the attempt failed inside the service" {
					t.Errorf("recorded %+v", w.saved[0].Changes)
				}
			})
		})
	}
}
