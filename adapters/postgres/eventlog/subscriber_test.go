package eventlog_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/adapters/postgres/eventlog"
)

const (
	topic = "topic"
	group = "group"
)

// fixture is a log, and a table that handlers write their effects to.
type fixture struct {
	*testing.T
	db  *postgres.DB
	log *eventlog.Log
	url string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	t.Parallel()
	f := &fixture{T: t, url: migrated.Copy(t)}
	f.db = openURL(t, f.url)
	f.log = newLog(t, f.db)
	f.exec(t.Context(), "CREATE TABLE effects (name TEXT NOT NULL)")
	return f
}

func (f *fixture) exec(ctx context.Context, query string, args ...any) {
	f.Helper()
	err := f.db.Update(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		_, err := tx.Exec(ctx, query, args...)
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) publish(names ...string) {
	f.Helper()
	for _, name := range names {
		if err := f.log.Publisher().Publish(topic, message.NewMessage(name, nil)); err != nil {
			f.Fatal(err)
		}
	}
}

func (f *fixture) subscribe(group string, options eventlog.Options) (*eventlog.Subscriber, <-chan *message.Message) {
	f.Helper()
	s := subscriber(f.T, f.log, group, options)
	messages, err := s.Subscribe(f.Context(), topic)
	if err != nil {
		f.Fatal(err)
	}
	return s, messages
}

// affect does what a handler does: it joins the message's transaction and writes the message's name.
func (f *fixture) affect(msg *message.Message) context.Context {
	f.Helper()
	ctx, err := eventlog.Join(msg.Context())
	if err != nil {
		f.Fatal(err)
	}
	f.exec(ctx, "INSERT INTO effects (name) VALUES ($1)", msg.UUID)
	return ctx
}

func (f *fixture) effects() int64 {
	f.Helper()
	return query(f.T, f.db, "SELECT count(*) FROM effects")
}

func (f *fixture) offset() int64 {
	f.Helper()
	return query(f.T, f.db, "SELECT position FROM consumer_offsets WHERE consumer_group = $1 AND topic = $2", group, topic)
}

// nothingKept fails unless neither an effect nor an offset was kept.
func (f *fixture) nothingKept() {
	f.Helper()
	if effects, offset := f.effects(), f.offset(); effects != 0 || offset != 0 {
		f.Errorf("kept %d effects and offset %d, want neither", effects, offset)
	}
}

// receive wants the message with that name next.
func (f *fixture) receive(messages <-chan *message.Message, name string) *message.Message {
	f.Helper()
	select {
	case msg, ok := <-messages:
		if !ok || msg.UUID != name {
			f.Fatalf("received %v (open: %t), want %s", msg, ok, name)
		}
		return msg
	case <-time.After(patience):
		f.Fatalf("%s did not come", name)
		return nil
	}
}

// waitForOffset polls until the acknowledgement is committed.
func (f *fixture) waitForOffset(want int64) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), patience)
	defer cancel()
	often := time.NewTicker(time.Millisecond)
	defer often.Stop()
	for f.offset() != want {
		select {
		case <-often.C:
		case <-ctx.Done():
			f.Fatalf("offset is %d, want %d", f.offset(), want)
		}
	}
}

func TestACommitWakesTheReader(t *testing.T) {
	f := newFixture(t)
	_, messages := f.subscribe(group, eventlog.Options{Recheck: time.Hour})
	for i := range 20 {
		name := strconv.Itoa(i)
		f.publish(name)
		f.receive(messages, name).Ack()
		f.waitForOffset(int64(i + 1)) // then it is idle, or about to be
	}
}

func TestEffectsAndOffsetCommitTogether(t *testing.T) {
	f := newFixture(t)
	f.publish("a", "b")
	_, messages := f.subscribe(group, eventlog.Options{})
	msg := f.receive(messages, "a")
	f.affect(msg)
	f.nothingKept()
	msg.Ack()
	f.receive(messages, "b") // comes only after the commit
	if effects, offset := f.effects(), f.offset(); effects != 1 || offset != 1 {
		t.Errorf("kept %d effects and offset %d, want 1 and 1", effects, offset)
	}
}

func TestCloseInTheMiddleOfAHandler(t *testing.T) {
	f := newFixture(t)
	f.publish("a")
	s, messages := f.subscribe(group, eventlog.Options{})
	msg := f.receive(messages, "a")
	ctx := f.affect(msg)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f.nothingKept()
	if msg.Context().Err() == nil {
		t.Error("the handler's context outlives the subscriber")
	}
	// A handler that does not care for its context cannot write any more, not even into somebody else's transaction.
	other, err := f.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = f.db.Update(context.WithoutCancel(ctx), func(ctx context.Context, tx *postgres.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO effects (name) VALUES ('late')")
		return err
	})
	if !errors.Is(err, pgx.ErrTxClosed) {
		t.Errorf("a late write gave %v, want %v", err, pgx.ErrTxClosed)
	}
	if err := other.Commit(); err != nil {
		t.Fatal(err)
	}
	msg.Ack() // too late
	f.nothingKept()

	_, messages = f.subscribe(group, eventlog.Options{})
	f.receive(messages, "a")
}

func TestANackLeavesNothingAndComesAgain(t *testing.T) {
	f := newFixture(t)
	f.publish("a", "b")
	_, messages := f.subscribe(group, eventlog.Options{MaxPause: time.Millisecond})
	for attempt := 1; attempt <= 5; attempt++ {
		msg := f.receive(messages, "a")
		f.nothingKept()
		if got := eventlog.Attempt(msg.Context()); got != attempt {
			t.Errorf("attempt is %d, want %d", got, attempt)
		}
		f.affect(msg)
		if attempt < 5 {
			msg.Nack()
		} else {
			msg.Ack()
		}
	}
	msg := f.receive(messages, "b")
	if got := eventlog.Attempt(msg.Context()); got != 1 {
		t.Errorf("attempt of the next message is %d, want 1", got)
	}
	if effects := f.effects(); effects != 1 {
		t.Errorf("%d effects of one message", effects)
	}
}

func TestTheAckDeadlineTakesAMessageBack(t *testing.T) {
	f := newFixture(t)
	f.publish("a")
	_, messages := f.subscribe(group, eventlog.Options{AckDeadline: 200 * time.Millisecond, MaxPause: time.Millisecond})
	late := f.receive(messages, "a")
	f.affect(late)
	msg := f.receive(messages, "a")
	f.nothingKept()
	if late.Context().Err() == nil {
		t.Error("the context of a message that was taken back is alive")
	}
	if _, err := eventlog.Join(context.WithoutCancel(late.Context())); !errors.Is(err, eventlog.ErrOver) {
		t.Errorf("joining late gave %v, want %v", err, eventlog.ErrOver)
	}
	late.Ack()
	msg.Ack()
	f.waitForOffset(1)
}

func TestOffsetIsNeverBeyondWhatWasAcknowledged(t *testing.T) {
	f := newFixture(t)
	for i := range 30 {
		f.publish(strconv.Itoa(i))
	}
	_, messages := f.subscribe(group, eventlog.Options{MaxPause: time.Millisecond})
	for i := range 30 {
		for range i % 3 { // refused so often before
			f.receive(messages, strconv.Itoa(i)).Nack()
		}
		msg := f.receive(messages, strconv.Itoa(i))
		if got := f.offset(); got != int64(i) {
			t.Fatalf("offset is %d when %d messages are acknowledged", got, i)
		}
		msg.Ack()
	}
}

func TestGroupsAreIndependent(t *testing.T) {
	f := newFixture(t)
	f.publish("a", "b")
	_, stuck := f.subscribe("another", eventlog.Options{})
	f.receive(stuck, "a") // and no answer
	_, messages := f.subscribe(group, eventlog.Options{})
	f.receive(messages, "a").Ack()
	f.receive(messages, "b").Ack()
	f.waitForOffset(2)
}

func TestAMovedOffsetIsRespected(t *testing.T) {
	f := newFixture(t)
	f.publish("a", "b", "c")
	_, messages := f.subscribe(group, eventlog.Options{MaxPause: time.Millisecond})
	f.receive(messages, "a").Ack()
	msg := f.receive(messages, "b")
	f.exec(t.Context(), "DELETE FROM consumer_offsets") // as who starts the group at zero
	if _, err := eventlog.Join(msg.Context()); !errors.Is(err, eventlog.ErrSuperseded) {
		t.Errorf("join gave %v, want %v", err, eventlog.ErrSuperseded)
	}
	msg.Ack()
	f.receive(messages, "a")
}

// TestTwoProcessesKeepAMessageOnce has two logs of one file, which know nothing of each other.
func TestTwoProcessesKeepAMessageOnce(t *testing.T) {
	one := newFixture(t)
	db := openURL(t, one.url)
	two := &fixture{T: t, db: db, log: newLog(t, db), url: one.url}
	one.publish("a", "b")
	_, ones := one.subscribe(group, eventlog.Options{})
	_, twos := two.subscribe(group, eventlog.Options{MaxPause: time.Millisecond})
	first, second := one.receive(ones, "a"), two.receive(twos, "a")
	one.affect(first)
	first.Ack()
	one.receive(ones, "b")
	if _, err := eventlog.Join(second.Context()); !errors.Is(err, eventlog.ErrSuperseded) {
		t.Errorf("the second process's join gave %v, want %v", err, eventlog.ErrSuperseded)
	}
	second.Nack()
	two.receive(twos, "b")
	if got := one.effects(); got != 1 {
		t.Errorf("%d effects of one message", got)
	}
}

// TestAProcessTakesOverFromOneThatIsGone lets the process that acknowledged last disappear with a message in hand.
func TestAProcessTakesOverFromOneThatIsGone(t *testing.T) {
	one := newFixture(t)
	db := openURL(t, one.url)
	two := &fixture{T: t, db: db, log: newLog(t, db), url: one.url}
	one.publish("a", "b", "c")
	first, ones := one.subscribe(group, eventlog.Options{})
	one.receive(ones, "a").Ack()
	one.affect(one.receive(ones, "b")) // so that the group's lock is held
	_, twos := two.subscribe(group, eventlog.Options{Recheck: 10 * time.Millisecond})
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	two.affect(two.receive(twos, "b"))
	if effects := two.effects(); effects != 0 {
		t.Errorf("%d effects of messages that nobody acknowledged", effects)
	}
}

// TestTheTurnOfAProcessThatHasEndedIsFree has the next one begin at once, and not when it has waited for the other.
func TestTheTurnOfAProcessThatHasEndedIsFree(t *testing.T) {
	one := newFixture(t)
	db := openURL(t, one.url)
	two := &fixture{T: t, db: db, log: newLog(t, db), url: one.url}
	one.publish("a", "b")
	first, ones := one.subscribe(group, eventlog.Options{})
	one.receive(ones, "a").Ack()
	one.receive(ones, "b")
	two.until("the first process is seen", func() bool { return db.Gone(t.Context(), "nobody") && !db.Gone(t.Context(), one.db.Name()) })
	_ = first.Close()
	_ = one.db.Close()
	two.until("the first process is seen to be gone", func() bool { return db.Gone(t.Context(), one.db.Name()) })
	_, twos := two.subscribe(group, eventlog.Options{Recheck: time.Hour})
	two.receive(twos, "b")
}

// until asks again and again.
func (f *fixture) until(what string, is func() bool) {
	f.Helper()
	for end := time.Now().Add(patience); !is(); {
		if time.Now().After(end) {
			f.Fatalf("not so after %v: %s", patience, what)
		}
	}
}
