package idempotency_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/domain/problem"
)

// memory is a Store as its comments say.
type memory struct {
	rows    map[idempotency.Key]*row
	deleted int
}

type row struct {
	idempotency.Reservation
	sealed []byte
}

func (m *memory) Reserve(_ context.Context, r idempotency.Reservation, takeOver time.Time) (*idempotency.Found, error) {
	found, ok := m.rows[r.Key]
	free := !ok || !found.ExpiresAt.After(r.ReservedAt) || found.sealed == nil && !found.ReservedAt.After(takeOver)
	if !free {
		return &idempotency.Found{Fingerprint: found.Fingerprint, Sealed: found.sealed}, nil
	}
	m.rows[r.Key] = &row{Reservation: r}
	return nil, nil
}

func (m *memory) Answer(_ context.Context, key idempotency.Key, token string, sealed []byte) (held bool, err error) {
	found := m.rows[key]
	if held = found != nil && found.Token == token && found.sealed == nil; held {
		found.sealed = sealed
	}
	return held, nil
}

func (m *memory) Release(_ context.Context, key idempotency.Key, token string) error {
	if found := m.rows[key]; found != nil && found.Token == token && found.sealed == nil {
		delete(m.rows, key)
	}
	return nil
}

func (m *memory) DeleteExpired(_ context.Context, now time.Time, limit int) (int, error) {
	deleted := 0
	for key, found := range m.rows {
		if deleted < limit && !found.ExpiresAt.After(now) {
			delete(m.rows, key)
			deleted++
		}
	}
	m.deleted += deleted
	return deleted, nil
}

// sealer hides the plain text behind what it is bound to.
type sealer struct{}

func (sealer) Seal(plain []byte, associated ...string) ([]byte, error) {
	return append([]byte(strings.Join(associated, "|")+"|"), bytes.ReplaceAll(plain, []byte("secret"), []byte("tercesX"))...), nil
}

func (sealer) Open(sealed []byte, associated ...string) ([]byte, error) {
	plain, ok := bytes.CutPrefix(sealed, []byte(strings.Join(associated, "|")+"|"))
	if !ok {
		return nil, errors.New("sealed for another row")
	}
	return bytes.ReplaceAll(plain, []byte("tercesX"), []byte("secret")), nil
}

type setting struct {
	*testing.T
	store   *memory
	answers *idempotency.Answers
	now     time.Time
}

func newSetting(t *testing.T) *setting {
	s := &setting{T: t, store: &memory{rows: map[idempotency.Key]*row{}}, now: time.Date(2026, 6, 18, 17, 0, 0, 0, time.UTC)}
	tokens := 0
	s.answers = idempotency.New(s.store, sealer{}, func() time.Time { return s.now }, func() string { tokens++; return fmt.Sprint(tokens) })
	return s
}

var request = idempotency.Request{Caller: "key_1", Tenant: "t", Method: "POST", Path: "/v1/subscriptions", Key: "k", Body: []byte("{}")}

func (s *setting) reserve(r idempotency.Request) *idempotency.Reservation {
	s.Helper()
	reservation, answer, err := s.answers.Begin(s.Context(), r)
	if err != nil || answer != nil || reservation == nil {
		s.Fatalf("not reserved: %v %v", answer, err)
	}
	return reservation
}

func (s *setting) finish(r *idempotency.Reservation, answer *idempotency.Answer) {
	s.Helper()
	if err := s.answers.Finish(s.Context(), r, answer); err != nil {
		s.Fatal(err)
	}
}

func (s *setting) replayed(want string) {
	s.Helper()
	_, answer, err := s.answers.Begin(s.Context(), request)
	if err != nil || answer == nil || string(answer.Body) != want || answer.Header["ETag"] != "1" {
		s.Fatalf("replayed %+v, %v; want %s", answer, err, want)
	}
}

func answerOf(status int, body string) *idempotency.Answer {
	return &idempotency.Answer{Status: status, Header: map[string]string{"ETag": "1"}, Body: []byte(body)}
}

func TestAnswersAgain(t *testing.T) {
	s := newSetting(t)
	s.finish(s.reserve(request), answerOf(201, "secret"))
	s.replayed("secret")
	s.now = s.now.Add(idempotency.Kept - time.Second)
	s.replayed("secret")
	s.now = s.now.Add(time.Second)
	s.reserve(request)
}

func TestOtherContentIsAConflict(t *testing.T) {
	s := newSetting(t)
	s.finish(s.reserve(request), answerOf(201, "a"))
	for _, other := range []func(*idempotency.Request){
		func(r *idempotency.Request) { r.Body = []byte("{ }") }, func(r *idempotency.Request) { r.Query = "a=b" },
		func(r *idempotency.Request) { r.Condition = `"2"` },
	} {
		r := request
		other(&r)
		if _, _, err := s.answers.Begin(t.Context(), r); !problem.Is(err, problem.IdempotencyConflict) {
			t.Errorf("%v", err)
		}
	}
}

func TestOtherWritesAreFree(t *testing.T) {
	s := newSetting(t)
	s.reserve(request)
	for _, other := range []func(*idempotency.Request){
		func(r *idempotency.Request) { r.Caller = "key_2" }, func(r *idempotency.Request) { r.Tenant = "u" }, func(r *idempotency.Request) { r.Method = "PUT" },
		func(r *idempotency.Request) { r.Path += "/x" }, func(r *idempotency.Request) { r.Key = "l" },
		func(r *idempotency.Request) { r.Caller, r.Tenant = "key_1t", "" },
	} {
		r := request
		other(&r)
		s.reserve(r)
	}
}

func TestOneAtATimeUntilItIsTakenOver(t *testing.T) {
	s := newSetting(t)
	crashed := s.reserve(request)
	s.now = s.now.Add(idempotency.TakenOver - time.Second)
	if _, _, err := s.answers.Begin(t.Context(), request); !problem.Is(err, problem.Conflict) {
		t.Fatalf("%v", err)
	}
	s.now = s.now.Add(time.Second)
	second := s.reserve(request)
	s.finish(crashed, answerOf(201, "the first was only slow")) // its token is no longer valid
	s.finish(crashed, nil)
	s.finish(second, answerOf(201, "second"))
	s.replayed("second")
}

// A write is made with its answer, or not at all: not once its key was given up, taken over or answered for.
func TestAWriteWhoseKeyIsNoLongerItsOwnIsNotMade(t *testing.T) {
	s := newSetting(t)
	first := s.reserve(request)
	s.finish(first, nil) // it was given up: its caller was told to try again
	if err := s.answers.Keep(t.Context(), first, answerOf(202, "late")); !problem.Is(err, problem.Conflict) {
		t.Errorf("given up: %v", err)
	}
	second := s.reserve(request)
	if err := s.answers.Keep(t.Context(), first, answerOf(202, "late")); !problem.Is(err, problem.Conflict) {
		t.Errorf("taken over: %v", err)
	}
	if err := s.answers.Keep(t.Context(), second, answerOf(202, "second")); err != nil {
		t.Error(err)
	}
	if err := s.answers.Keep(t.Context(), second, answerOf(202, "twice")); !problem.Is(err, problem.Conflict) {
		t.Errorf("answered for: %v", err)
	}
	s.replayed("second")
}

func TestWhatIsNotKept(t *testing.T) {
	for name, answer := range map[string]*idempotency.Answer{
		"none": nil, "500": answerOf(500, ""), "503": answerOf(503, ""), "429": answerOf(429, ""), "large": answerOf(200, strings.Repeat("x", idempotency.MaxAnswer+1)),
	} {
		t.Run(name, func(t *testing.T) {
			s := newSetting(t)
			s.finish(s.reserve(request), answer)
			s.reserve(request)
		})
	}
	for _, status := range []int{200, 202, 204, 400, 403, 404, 409} {
		s := newSetting(t)
		s.finish(s.reserve(request), answerOf(status, "kept"))
		s.replayed("kept")
	}
}

func TestAnswersAreSealedForTheirRow(t *testing.T) {
	s := newSetting(t)
	s.finish(s.reserve(request), answerOf(201, "secret"))
	other := request
	other.Key = "other"
	reservation := s.reserve(other)
	for _, found := range s.store.rows {
		if bytes.Contains(found.sealed, []byte("secret")) {
			t.Error("an answer is stored as it is")
		}
	}
	s.store.rows[reservation.Key].sealed = s.store.rows[request.KeyOf()].sealed
	if _, _, err := s.answers.Begin(t.Context(), other); err == nil {
		t.Error("an answer of another row was opened")
	}
}

func TestPurge(t *testing.T) {
	s := newSetting(t)
	s.reserve(request)
	if next, err := s.answers.PurgeStep(t.Context()); err != nil || !next.Equal(s.now.Add(time.Minute)) || s.store.deleted != 0 {
		t.Fatalf("%v %v %d", next, err, s.store.deleted)
	}
	s.now = s.now.Add(idempotency.Kept)
	if _, err := s.answers.PurgeStep(t.Context()); err != nil || s.store.deleted != 1 {
		t.Fatalf("%v %d", err, s.store.deleted)
	}
}
