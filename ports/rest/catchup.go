package rest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/catchup"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/problem"
)

// CaughtUp is one event as the subscription's receiver should have got it.
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
	After string `query:"after" maxLength:"200" doc:"The nextCursor of the page before, of this subscription; absent to begin with the oldest event that is kept."`
	Limit int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many at most."`
	Wait  string `query:"wait" maxLength:"20" doc:"For how long to wait for an event when there is none, like 20s; at most 30s."`
}

const catchUpDescription = `For receivers that were away for longer than retries go on, or that cannot be called at all. Each event that the subscription
got a delivery for is there once, as its newest delivery has it, whatever became of that; nothing is marked as delivered by reading it.
No event is left out: what is accepted later comes later. Take the eventId for what was handled already.

The subscription of a receiver that cannot be called may stay paused: nothing is sent to its URL then. What comes is parked, and that counts among the
deliveries that the tenant may have unfinished, read or not. So make room from time to time, by POST /v1/subscriptions/{subscriptionId}/resume with skipParked, and a pause
some seconds later; what was skipped is still listed here.

A replay changes no order, since events stand where they were accepted. With the mode original nothing changes here. With rerender the event keeps its
place, and has from then on the id and the body of the new delivery: who reads up to it gets these alone, and a cursor that is past it does not
meet it again. What was rendered anew comes to such a receiver by push, or to one that begins without a cursor, or with one that it had before.
With missing an event comes to stand where it was accepted: a cursor that is past that place does not meet it either.

A cursor that is older than what is kept is refused, since events may be missing behind it, and so is one that the log does not know since it was put
back to an older backup. Among events that are older than what is certain to be kept, and are there still, a cursor holds for an hour.`

func (a *API) routeCatchUp() {
	register(a, operation{id: "listSubscriptionEvents", method: http.MethodGet, path: "/v1/subscriptions/{subscriptionId}/events", tag: tagSubscriptions,
		scope: access.EventsRead, perTenant: true, forBound: true, summary: "Catch up with a subscription's events", description: catchUpDescription + "\n\n" + listenersBound()}, a.catchUp)
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
			return nil, problem.Invalid("wait", "must be a duration from 0s to 30s, like 20s")
		}
	}
	if q.After, err = parseCatchUpCursor(of, in.After); err != nil {
		return nil, err
	}
	page, err := a.CatchUp.Read(ctx, q)
	if errors.Is(err, catchup.ErrTooOld) {
		return nil, problem.Invalid("after", "is so old that events behind it may be deleted: begin without it, and look through GET /v1/deliveries")
	}
	if errors.Is(err, catchup.ErrRestored) {
		return nil, problem.Invalid("after", "is not a cursor of this log, which may be an older backup: begin without it, and take the eventId for what was handled already")
	}
	if err != nil {
		return nil, err
	}
	view := CatchUpPage{Data: []CaughtUp{}, NextCursor: catchUpCursor(of, page.Next), HasMore: page.More}
	for _, item := range page.Items {
		view.Data = append(view.Data, CaughtUp{item.ID, item.EventID, string(item.EventType), string(item.Status), item.Headers, string(item.Body)})
	}
	return &CatchUpOutput{view}, nil
}

// A cursor, opaque to clients, holds the version of its form, then the Sequence, Accepted (microseconds), At (milliseconds) and Anchor of a
// catchup.Cursor, then the mark of its lane: sequences are the tenant's, so in another subscription's list a cursor would skip events that
// the receiver has never seen.
const (
	catchUpForm = "4.%d.%d.%d.%d.%s"
	// Older cursors do not name their lane.
	catchUpFormBefore         = "2.%d.%d.%d"
	catchUpAnchoredFormBefore = "3.%d.%d.%d.%d"
)

func catchUpCursor(of dispatch.Lane, c catchup.Cursor) string {
	accepted, at := catchUpTimes(c)
	return encodeCatchUp(catchUpForm, c.Sequence, accepted, at, c.Anchor, laneMark(of))
}

func encodeCatchUp(form string, values ...any) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, form, values...))
}

func catchUpTimes(c catchup.Cursor) (accepted, at int64) {
	if !c.Accepted.IsZero() {
		accepted = c.Accepted.UnixMicro()
	}
	if !c.At.IsZero() {
		at = c.At.UnixMilli()
	}
	return accepted, at
}

// laneMark guards against mix-ups, not against forgery: whoever forges a cursor skips events of their own list only.
func laneMark(of dispatch.Lane) string {
	sum := sha256.Sum256([]byte(string(of.Tenant) + "\x00" + of.SubscriptionID))
	return hex.EncodeToString(sum[:8])
}

func parseCatchUpCursor(of dispatch.Lane, text string) (c catchup.Cursor, err error) {
	if text == "" {
		return c, nil
	}
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return c, errNoCatchUpCursor()
	}
	var accepted, at int64
	var mark string
	if _, err = fmt.Sscanf(string(decoded), catchUpForm, &c.Sequence, &accepted, &at, &c.Anchor, &mark); err != nil {
		if _, err = fmt.Sscanf(string(decoded), catchUpFormBefore, &c.Sequence, &accepted, &at); err != nil {
			_, err = fmt.Sscanf(string(decoded), catchUpAnchoredFormBefore, &c.Sequence, &accepted, &at, &c.Anchor)
		}
	}
	if c.At = time.UnixMilli(at).UTC(); accepted != 0 {
		c.Accepted = time.UnixMicro(accepted).UTC()
	}
	if err != nil || c.Sequence < 0 || c.Anchor < 0 || accepted < 0 || at < 0 || !slices.Contains(catchUpSpellings(of, c), text) {
		return c, errNoCatchUpCursor()
	}
	return c, nil
}

func errNoCatchUpCursor() error { return problem.Invalid("after", "is not a cursor of this list") }

// catchUpSpellings is the cursor in the current form and in the older one.
func catchUpSpellings(of dispatch.Lane, c catchup.Cursor) []string {
	accepted, at := catchUpTimes(c)
	before := encodeCatchUp(catchUpFormBefore, c.Sequence, accepted, at)
	if c.Anchor != 0 {
		before = encodeCatchUp(catchUpAnchoredFormBefore, c.Sequence, accepted, at, c.Anchor)
	}
	return []string{catchUpCursor(of, c), before}
}
