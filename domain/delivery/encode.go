package delivery

import (
	"encoding/json"
	"fmt"

	"github.com/ordinavo/webhooks/domain/stored"
)

// Encode returns a change's stored name and its data, the JSON of the change's type. The changes that every delivery has are
// encoded by hand: a field added to their types must be added there.
func Encode(c Change) (name string, data []byte, err error) {
	switch c := c.(type) {
	case Scheduled:
		data, err = c.encode()
		return typeScheduled, data, err
	case AttemptSucceeded:
		data, err = c.encode()
		return typeAttemptSucceeded, data, err
	case AttemptFailed:
		data, err = c.encode()
		return typeAttemptFailed, data, err
	case AttemptAbandoned:
		name = typeAttemptAbandoned
	case Parked:
		name = typeParked
	case Released:
		name = typeReleased
	case DeadLettered:
		name = typeDeadLettered
	case RetryRequested:
		name = typeRetryRequested
	case Cancelled:
		name = typeCancelled
	default:
		return "", nil, fmt.Errorf("delivery: no stored name for %T", c)
	}
	data, err = json.Marshal(c)
	return name, data, err
}

// About how many bytes they take.
const (
	scheduledSize = 448
	attemptSize   = 1280
)

func (c Scheduled) encode() ([]byte, error) {
	o := stored.Begin(scheduledSize)
	o.Time("at", c.At)
	o.Text("deliveryId", c.ID)
	o.Text("tenantId", string(c.Tenant))
	o.Text("eventId", c.EventID)
	o.Text("eventType", string(c.EventType))
	o.Text("subscriptionId", c.SubscriptionID)
	o.Int("subscriptionVersion", c.SubscriptionVersion)
	o.Int("bodyNumber", int64(c.BodyNumber))
	o.SomeTexts("warnings", c.Warnings)
	return o.End()
}

func (c AttemptSucceeded) encode() ([]byte, error) {
	o := stored.Begin(attemptSize)
	o.Time("at", c.At)
	c.Attempt.encode(o)
	return o.End()
}

func (c AttemptFailed) encode() ([]byte, error) {
	o := stored.Begin(attemptSize)
	o.Time("at", c.At)
	c.Attempt.encode(o)
	o.SomeTime("nextAt", c.NextAt)
	return o.End()
}

func (a Attempt) encode(o *stored.Object) {
	o.Open("attempt")
	o.Int("number", int64(a.Number))
	o.Text("outcome", string(a.Kind))
	o.Time("startedAt", a.StartedAt)
	o.Int("durationNs", int64(a.Duration))
	o.SomeMap("requestHeaders", a.RequestHeaders)
	o.SomeInt("status", int64(a.Status))
	o.SomeMap("responseHeaders", a.ResponseHeaders)
	o.SomeBytes("responseBody", a.ResponseBody)
	o.SomeText("error", a.Error)
	o.SomeInt("retryAfterNs", int64(a.RetryAfter))
	o.SomeText("traceId", a.TraceID)
	o.Close()
}
