package rest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ordinavo/webhooks/application/catchup"
	"github.com/ordinavo/webhooks/domain/access"
)

// CaughtUp is one event as the subscription's receiver was to get it.
type CaughtUp struct {
	DeliveryID string            `json:"deliveryId"`
	EventID    string            `json:"eventId"`
	EventType  string            `json:"eventType"`
	Status     string            `json:"status" enum:"pending,delivering,retrying,parked,succeeded,dead_letter,cancelled" doc:"Of the delivery that pushes it."`
	Headers    map[string]string `json:"headers" doc:"As a request that is sent now would have them: verify them as those of a request."`
	Body       string            `json:"body" doc:"The exact bytes that are signed."`
}

// CatchUpPage is the next events of a subscription.
type CatchUpPage struct {
	Data       []CaughtUp `json:"data" doc:"Oldest first, in the order in which the events were accepted."`
	NextCursor string     `json:"nextCursor" doc:"The after of the next request; keep it once the data is handled."`
	HasMore    bool       `json:"hasMore" doc:"Whether there may be others right behind; ask on at once then."`
}

// CatchUpOutput is a CatchUpPage as an answer.
type CatchUpOutput struct{ Body CatchUpPage }

type catchUpInput struct {
	SubscriptionRef
	After string `query:"after" maxLength:"100" doc:"The nextCursor of the page before; absent to begin with the oldest event that is kept."`
	Limit int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many at most."`
	Wait  string `query:"wait" maxLength:"20" doc:"For how long to wait for an event when there is none, like 20s; at most 30s."`
}

const catchUpDescription = `For receivers that were away for longer than retries go on, or that cannot be called at all. Each event that the subscription
got a delivery for is there once, as its newest delivery has it, whatever became of that; nothing is marked as delivered by reading it.
No event is left out: what is accepted later comes later. Take the eventId for what was handled already.

A replay changes no order, since events stand where they were accepted. With the mode original nothing changes here. With rerender the event keeps its
place, and has from then on the id and the body of the new delivery: who reads up to it gets these alone, and a cursor that is past it does not
meet it again. What was rendered anew comes to such a receiver by push, or to one that begins without a cursor, or with one that it had before.

A cursor that is older than what
is kept is refused, since events may be missing behind it, and so is one that the log does not know since it was put back to an older backup.`

func (a *API) routeCatchUp() {
	register(a, operation{id: "listSubscriptionEvents", method: http.MethodGet, path: "/v1/subscriptions/{subscriptionId}/events", tag: tagSubscriptions,
		scope: access.EventsRead, perTenant: true, forBound: true, summary: "Catch up with a subscription's events", description: catchUpDescription}, a.catchUp)
}

const maxWait = 30 * time.Second

func (a *API) catchUp(ctx context.Context, in *catchUpInput) (*CatchUpOutput, error) {
	of, err := lane(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	q := catchup.Query{Lane: of, KeyID: callerOf(ctx).ID, Limit: in.Limit}
	if in.Wait != "" {
		if q.Wait, err = time.ParseDuration(in.Wait); err != nil || q.Wait < 0 || q.Wait > maxWait {
			return nil, invalid("wait", "must be a duration from 0s to 30s, like 20s")
		}
	}
	if q.After, err = parseCatchUpCursor(in.After); err != nil {
		return nil, err
	}
	page, err := a.CatchUp.Read(ctx, q)
	if errors.Is(err, catchup.ErrTooOld) {
		return nil, invalid("after", "is so old that events behind it may be deleted: begin without it, and look through GET /v1/deliveries")
	}
	if errors.Is(err, catchup.ErrRestored) {
		return nil, invalid("after", "is not a cursor of this log, which may be an older backup: begin without it, and take the eventId for what was handled already")
	}
	if err != nil {
		return nil, err
	}
	view := CatchUpPage{Data: []CaughtUp{}, NextCursor: catchUpCursor(page.Next), HasMore: page.More}
	for _, item := range page.Items {
		view.Data = append(view.Data, CaughtUp{item.ID, item.EventID, string(item.EventType), string(item.Status), item.Headers, string(item.Body)})
	}
	return &CatchUpOutput{view}, nil
}

// A cursor is opaque to clients: the version of its form, the sequence, when that event was accepted, in
// microseconds, and the time in milliseconds. One that is known by another event has its sequence behind these.
const (
	catchUpForm         = "2.%d.%d.%d"
	catchUpAnchoredForm = "3.%d.%d.%d.%d"
)

func catchUpCursor(c catchup.Cursor) string {
	accepted, at := int64(0), int64(0)
	if !c.Accepted.IsZero() {
		accepted = c.Accepted.UnixMicro()
	}
	if !c.At.IsZero() {
		at = c.At.UnixMilli()
	}
	text := fmt.Sprintf(catchUpForm, c.Sequence, accepted, at)
	if c.Anchor != 0 {
		text = fmt.Sprintf(catchUpAnchoredForm, c.Sequence, accepted, at, c.Anchor)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

func parseCatchUpCursor(text string) (c catchup.Cursor, err error) {
	if text == "" {
		return c, nil
	}
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	var accepted, at int64
	if err == nil {
		if _, err = fmt.Sscanf(string(decoded), catchUpForm, &c.Sequence, &accepted, &at); err != nil {
			_, err = fmt.Sscanf(string(decoded), catchUpAnchoredForm, &c.Sequence, &accepted, &at, &c.Anchor)
		}
	}
	if c.At = time.UnixMilli(at).UTC(); accepted != 0 {
		c.Accepted = time.UnixMicro(accepted).UTC()
	}
	if err != nil || c.Sequence < 0 || c.Anchor < 0 || accepted < 0 || at < 0 || catchUpCursor(c) != text {
		return c, invalid("after", "is not a cursor of this route")
	}
	return c, nil
}
