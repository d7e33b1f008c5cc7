// Package messages is the Watermill router: it brings the log's records to use cases.
package messages

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
)

// Log is the pub/sub that the router reads from and puts poison on.
type Log interface {
	// Subscriber reads for a consumer group.
	Subscriber(group string) (message.Subscriber, error)
	// InTransaction gives a handler's context the transaction that moves the group's offset.
	InTransaction(message.HandlerFunc) message.HandlerFunc
	// Rest takes the messages that were read together with that of ctx: they are acknowledged with it, or come again with it, each alone.
	Rest(ctx context.Context) []*message.Message
	Publisher() message.Publisher
}

// FanOut handles accepted events.
type FanOut interface {
	Handle(ctx context.Context, records []fanout.Record) error
}

// errSetAside marks a message that no repetition can handle.
var errSetAside = errors.New("the message cannot be handled")

// closeTimeout bounds the wait for handlers at the end; what they have not committed comes again.
const closeTimeout = 10 * time.Second

// quieter keeps what the router says about its own start and stop out of the service's log, and what the log's reader says itself: that a
// handler has failed, with the position and the cause, unless another process has just taken over.
type quieter struct{ watermill.LoggerAdapter }

func newQuieter(log *slog.Logger) quieter {
	return quieter{watermill.NewSlogLoggerWithLevelMapping(log, map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})}
}

// handlerFailed is what the router says of a message that it nacks for its handler.
const handlerFailed = "Handler returned error"

func (q quieter) Error(msg string, err error, fields watermill.LogFields) {
	if msg == handlerFailed {
		q.Debug(msg, fields.Add(watermill.LogFields{"error": err}))
		return
	}
	q.LoggerAdapter.Error(msg, err, fields)
}

func (q quieter) With(fields watermill.LogFields) watermill.LoggerAdapter {
	return quieter{q.LoggerAdapter.With(fields)}
}

// NewRouter connects the topic of accepted events with fan-out.
func NewRouter(log *slog.Logger, records Log, fanOut FanOut) (*message.Router, error) {
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: closeTimeout}, newQuieter(log))
	if err != nil {
		return nil, fmt.Errorf("make the router: %w", err)
	}
	// What cannot be handled goes to the poison topic in a transaction of its own, with the group's offset.
	router.AddMiddleware(setAside(records), records.InTransaction, recovered)
	subscriber, err := records.Subscriber(fanout.Group)
	if err != nil {
		return nil, fmt.Errorf("subscribe %s to %s: %w", fanout.Group, fanout.TopicEvents, err)
	}
	router.AddConsumerHandler(fanout.Group, fanout.TopicEvents, subscriber, handleEvents(records, fanOut))
	return router, nil
}

// setAside puts a message that no repetition can handle on the poison topic, with the reason, and goes on.
// Trouble that passes, like a database that is away, makes the message come again instead.
func setAside(records Log) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			produced, err := next(msg)
			if !errors.Is(err, errSetAside) {
				return produced, err
			}
			return records.InTransaction(func(msg *message.Message) ([]*message.Message, error) {
				poison := msg.CopyWithContext()
				poison.Metadata.Set("reason", err.Error())
				return nil, records.Publisher().Publish(fanout.TopicPoison, poison)
			})(msg)
		}
	}
}

// recovered turns a message whose handling panics into poison.
func recovered(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) (produced []*message.Message, err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("%w: handling it panicked: %v\n%s", errSetAside, r, debug.Stack())
			}
		}()
		return next(msg)
	}
}

// handleEvents fans out all records that are there in one go.
func handleEvents(records Log, fanOut FanOut) func(*message.Message) error {
	return func(msg *message.Message) error {
		rest := records.Rest(msg.Context())
		list := make([]fanout.Record, 0, 1+len(rest))
		for _, m := range append([]*message.Message{msg}, rest...) {
			r, err := record(m)
			if err != nil {
				return err
			}
			list = append(list, r)
		}
		return fanOut.Handle(msg.Context(), list)
	}
}

// record reads what a message of the events topic says.
func record(msg *message.Message) (r fanout.Record, err error) {
	if r.Position, err = strconv.ParseInt(msg.Metadata.Get("position"), 10, 64); err != nil {
		return r, fmt.Errorf("%w: its position: %w", errSetAside, err)
	}
	if r.Keys, err = intake.DecodeKeys(msg.Payload); err != nil {
		r.Keys, r.Unreadable = nil, fmt.Errorf("read its names of events: %w", err)
	}
	return r, nil
}
