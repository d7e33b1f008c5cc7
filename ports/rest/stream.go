package rest

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/go-json-experiment/json"
	"github.com/gofiber/fiber/v2"

	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
)

const contentTypeEventStream = "text/event-stream"

const streamDescription = `Server-sent events (WHATWG HTML, section 9.2). Each change of a delivery is an event "delivery" whose data is the delivery
as GET /v1/deliveries lists it, as the change left it. That an attempt has begun is no change: the status delivering is not streamed.
Events that say "id:" alone, without data, come every 15 seconds: they keep the connection, and the id, fresh.

A client that comes back with Last-Event-ID gets what it missed, and then what is new; most libraries do that by themselves. The EventSource of
browsers does, too, but cannot send the API key, which belongs in no page either: have your own server follow the stream, and pass it on.
When more than 200,000 changes of all tenants came between, when the client was away for longer than deliveries are kept, or when the id is not
one of this service's, the event "reset" comes first: what was missed is in GET /v1/deliveries, as far as it is kept. The event "end" says why the service ends a stream: slow (the client did not keep up), closing (the service
is about to stop) and interrupted are reasons to come back; revoked is none.`

type streamInput struct {
	Period
	Status         string `query:"status" enum:"pending,retrying,parked,succeeded,dead_letter,cancelled" doc:"After the change."`
	SubscriptionID string `query:"subscriptionId" pattern:"^sub_[0-9A-Za-z]{1,40}$" patternDescription:"an id that begins with sub_"`
	EventID        string `query:"eventId" pattern:"^evt_[0-9A-Za-z]{1,40}$" patternDescription:"an id that begins with evt_"`
	EventType      string `query:"eventType" maxLength:"100"`
	LastEventID    string `header:"Last-Event-ID" maxLength:"100" doc:"The id of the last event that the client got."`
}

// listenersBound is for whoever follows deliveries, or waits for events, on behalf of many with one key.
func listenersBound() string {
	return fmt.Sprintf("429 also says that the key follows deliveries, or waits for events, %d times in one process already, or that all keys of the tenant together do so too often; "+
		"503 that all who use the process do.", live.MostPerKey)
}

func (a *API) routeStream() {
	register(a, operation{id: "streamDeliveries", method: http.MethodGet, path: "/v1/deliveries/stream", tag: tagDeliveries,
		scope: access.DeliveriesRead, perTenant: true, forBound: true, produces: contentTypeEventStream,
		summary: "Follow deliveries as they change", description: streamDescription + "\n\n" + listenersBound()}, a.streamDeliveries)
}

func (a *API) streamDeliveries(ctx context.Context, in *streamInput) (*huma.StreamResponse, error) {
	if err := checkEventType(in.EventType); err != nil {
		return nil, err
	}
	if err := in.Period.check(); err != nil {
		return nil, err
	}
	of, err := lane(ctx, cmp.Or(in.SubscriptionID, callerOf(ctx).SubscriptionID))
	if err != nil {
		return nil, err
	}
	filter := live.Filter{Status: delivery.Status(in.Status), SubscriptionID: of.SubscriptionID, EventID: in.EventID,
		EventType: event.Type(in.EventType), Since: in.Since.Time, Until: in.Until.Time}
	listener, err := a.Live.Listen(ctx, of.Tenant, callerOf(ctx).ID, filter)
	if err != nil {
		return nil, err
	}
	s := &stream{listener: listener, base: a.base, lastSeen: in.LastEventID}
	return &huma.StreamResponse{Body: func(ctx huma.Context) { s.begin(humafiber.Unwrap(ctx)) }}, nil
}

// writeWithin bounds each write to a client; it ends the stream of one that vanished without closing its connection.
const writeWithin = 10 * time.Second

// stream tells one client what its listener hears.
type stream struct {
	listener *live.Listener
	base     context.Context // ends with the server
	lastSeen string          // the id that the client came with
	conn     net.Conn
	out      *bufio.Writer
	last     int64 // the position that the client has
}

// begin lets the server write the stream once the handler has returned.
func (s *stream) begin(c *fiber.Ctx) {
	c.Set(fiber.HeaderContentType, contentTypeEventStream)
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set("X-Accel-Buffering", "no") // nginx would keep events back
	if c.Context().Response.SkipBody {
		// A HEAD: the library would write the end of a chunked body behind its headers.
		c.Context().Response.Header.SetContentLength(chunked)
		s.listener.Leave()
		return
	}
	s.conn = c.Context().Conn()
	c.Context().SetBodyStreamWriter(s.run)
}

// run ends when a write fails, since the client is gone, or when its listener has ended; the client may come back.
func (s *stream) run(out *bufio.Writer) {
	defer s.listener.Leave()
	s.out = out
	if err := s.resume(); err != nil {
		return
	}
	for {
		select {
		case c := <-s.listener.Changes():
			if s.tell(*c) != nil {
				return
			}
		case <-s.listener.Ended():
			_ = s.end(s.listener.Reason())
			return
		}
	}
}

// resume tells a client with a Last-Event-ID what it missed, and every client the id from which on it hears of everything.
func (s *stream) resume() error {
	since := s.listener.Since()
	s.last = since.Position
	if s.lastSeen != "" {
		seen, err := parseEventID(s.lastSeen)
		if err == nil {
			err = s.listener.Replay(s.base, seen, s.write)
			s.last = max(s.last, seen.Position)
		}
		switch {
		case errors.Is(err, live.ErrTooOld):
			s.last = since.Position
			err = s.say("reset", streamNote{"too_old", "What happened since that id cannot be told: see GET /v1/deliveries."})
		case err != nil:
			return s.end(err)
		}
		if err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(s.out, "retry: 1000\nid: %s\n\n", eventID(live.Mark{Position: s.last, At: since.At}))
	return s.flush()
}

// tell passes on what the client does not have yet.
func (s *stream) tell(c live.Change) error {
	switch {
	case c.Position < s.last || c.Position == s.last && !c.IsBeat():
		return nil
	case c.IsBeat():
		s.last = c.Position
		_, _ = fmt.Fprintf(s.out, "id: %s\n\n", eventID(c.Mark))
		return s.flush()
	}
	s.last = c.Position
	return s.write(c)
}

func (s *stream) write(c live.Change) error {
	data, err := json.Marshal(viewListed(queries.ListedDelivery{Delivery: c.Delivery, Last: c.Last}), shownTimes)
	if err != nil {
		return fmt.Errorf("encode a delivery: %w", err)
	}
	_, _ = fmt.Fprintf(s.out, "id: %s\nevent: delivery\ndata: %s\n\n", eventID(c.Mark), data)
	return s.flush()
}

// streamNote is the data of an event that is about the stream itself.
type streamNote struct {
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

var endings = map[error]streamNote{
	live.ErrSlow:        {"slow", "The client did not keep up. Come back with Last-Event-ID to go on from there."},
	live.ErrRevoked:     {"revoked", "The key is revoked or has expired."},
	live.ErrClosing:     {"closing", "The service is about to stop. Come back with Last-Event-ID."},
	live.ErrInterrupted: {"interrupted", "The service could not read the changes for a moment. Come back with Last-Event-ID."},
}

// end says why the stream ends; its error makes run return.
func (s *stream) end(reason error) error {
	note, known := endings[reason]
	if !known {
		note = endings[live.ErrInterrupted]
	}
	return errors.Join(reason, s.say("end", note))
}

func (s *stream) say(event string, note streamNote) error {
	data, err := json.Marshal(note)
	if err != nil {
		return fmt.Errorf("encode a note: %w", err)
	}
	_, _ = fmt.Fprintf(s.out, "event: %s\ndata: %s\n\n", event, data)
	return s.flush()
}

// flush sends what was written. The server's own deadline is for the whole answer, which has no end here.
func (s *stream) flush() error {
	_ = s.conn.SetWriteDeadline(time.Now().Add(writeWithin)) // on a closed connection the write fails as well
	return s.out.Flush()
}

// An event's id, opaque to clients, holds the version of its form, the position in the log, and its mark's time in seconds.
const eventIDVersion = "2."

func eventID(m live.Mark) string {
	text := eventIDVersion + strconv.FormatInt(m.Position, 36) + "." + strconv.FormatInt(m.At.Unix(), 36)
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

// parseEventID fails with live.ErrTooOld for a malformed id, as for any mark that the log does not have.
func parseEventID(id string) (live.Mark, error) {
	decoded, err := base64.RawURLEncoding.DecodeString(id)
	text, ours := strings.CutPrefix(string(decoded), eventIDVersion)
	position, at, whole := strings.Cut(text, ".")
	if err != nil || !ours || !whole {
		return live.Mark{}, live.ErrTooOld
	}
	number, err := strconv.ParseInt(position, 36, 64)
	seconds, timeErr := strconv.ParseInt(at, 36, 64)
	if err != nil || timeErr != nil {
		return live.Mark{}, live.ErrTooOld
	}
	return live.Mark{Position: number, At: time.Unix(seconds, 0).UTC()}, nil
}
