// Package idempotency gives a repeated write the answer of the first one (contract, section 5).
package idempotency

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/reseal"
	"github.com/ordinavo/webhooks/domain/problem"
)

// How long things last, and how large they may be.
const (
	// Kept is for how long an answer is given again (contract, section 5).
	Kept = 24 * time.Hour
	// TakenOver is the age at which a reservation without an answer counts as left by a crash. It must be longer than any
	// request may take.
	TakenOver = time.Minute
	// MaxAnswer is the largest body that is kept, in bytes. A longer answer is given once and frees the key.
	MaxAnswer = 1 << 20
	// MaxKeyLength bounds the Idempotency-Key, in bytes.
	MaxKeyLength = 255
)

// Key is a digest that names one write of one caller; see KeyOf.
type Key [sha256.Size]byte

// Fingerprint is a digest of a request's content.
type Fingerprint [sha256.Size]byte

// Reservation says that a request is being worked on.
type Reservation struct {
	Key         Key
	Fingerprint Fingerprint
	// Token fences: only who holds it may answer or release the reservation.
	Token      string
	ReservedAt time.Time
	// ExpiresAt is when the row, with or without an answer, counts as gone.
	ExpiresAt time.Time
}

// Found is what the store holds under a key that could not be reserved.
type Found struct {
	Fingerprint Fingerprint
	// Sealed is the answer; nil while the first request is still being worked on.
	Sealed []byte
}

// Store keeps one row for each key. Each method is atomic by itself; it joins the transaction that the context carries.
type Store interface {
	// Reserve writes the reservation and returns nil when the key is free, that is when
	//   - there is no row of the key, or
	//   - the row's ExpiresAt is not after r.ReservedAt, or
	//   - the row has no answer and its ReservedAt is not after takeOver;
	// the new row replaces the old one. Else it changes nothing and returns what it found.
	Reserve(ctx context.Context, r Reservation, takeOver time.Time) (*Found, error)
	// Answer adds the sealed answer to the row of the key, if it still has the token and no answer. Otherwise it does nothing
	// and held is false: the key was released, or taken over by another request.
	Answer(ctx context.Context, key Key, token string, sealed []byte) (held bool, err error)
	// Release deletes the row of the key, if it still has the token and no answer; else nothing.
	Release(ctx context.Context, key Key, token string) error
	// DeleteExpired deletes at most limit rows whose ExpiresAt is not after now, and says how many.
	DeleteExpired(ctx context.Context, now time.Time, limit int) (int, error)
}

// Sealer keeps what answers hold (secrets, keys that are shown once) unreadable at rest. A value sealed with other associated
// texts does not open.
type Sealer interface {
	Seal(plain []byte, associated ...string) ([]byte, error)
	Open(sealed []byte, associated ...string) ([]byte, error)
}

// Answer is the part of an HTTP answer that is given again.
type Answer struct {
	Status int               `json:"status"`
	Header map[string]string `json:"header"`
	Body   []byte            `json:"body"`
}

// Request is what makes two writes the same or different.
type Request struct {
	// Caller is the ID of the API key: answers may hold secrets that another key must not see.
	Caller string
	// Tenant is the tenant that the caller acts for; empty for none.
	Tenant string
	Method string
	Path   string
	Query  string
	Key    string
	// Condition is what the write is conditional on (If-Match); empty for nothing.
	Condition string
	Body      []byte
}

// KeyOf names the write: caller, tenant, method, path and the caller's own key.
func (r Request) KeyOf() Key {
	return digest([]byte(r.Caller), []byte(r.Tenant), []byte(r.Method), []byte(r.Path), []byte(r.Key))
}

// Fingerprint digests the content.
func (r Request) Fingerprint() Fingerprint {
	content := [][]byte{[]byte(r.Method), []byte(r.Path), []byte(r.Query), r.Body}
	if r.Condition != "" { // else as in what is kept from before there were conditions
		content = append(content, []byte(r.Condition))
	}
	return digest(content...)
}

// digest hashes the parts with their lengths, so that moving a boundary changes the result.
func digest(parts ...[]byte) [sha256.Size]byte {
	hash := sha256.New()
	var length [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		hash.Write(length[:])
		hash.Write(part)
	}
	return [sha256.Size]byte(hash.Sum(nil))
}

// Answers remembers answers. Those to emitted events, and to requests that make or change subscriptions, deliveries, events,
// tenants, keys and jobs or delete from the directory, are kept in the transaction of the write. The others are kept once their
// write is durable: a process that dies in between leaves a reservation without an answer, and once that is taken over
// (TakenOver) the write is made again. That is harmless, since these set things to what they already are (the directory, a
// tenant's name, weight and features, a job's or a key's end), or are a test, which is sent once more.
type Answers struct {
	store    Store
	sealer   Sealer
	now      func() time.Time
	newToken func() string
}

// New makes an Answers; newToken must never give the same text twice.
func New(store Store, sealer Sealer, now func() time.Time, newToken func() string) *Answers {
	return &Answers{store: store, sealer: sealer, now: now, newToken: newToken}
}

// Begin reserves the key for the request, or returns the answer that was given before. It fails with
// problem.IdempotencyConflict when the key was used for other content, and with problem.Conflict while
// the first request is still being worked on. A reservation must end in Finish.
func (a *Answers) Begin(ctx context.Context, r Request) (*Reservation, *Answer, error) {
	now := a.now()
	reservation := Reservation{Key: r.KeyOf(), Fingerprint: r.Fingerprint(), Token: a.newToken(), ReservedAt: now, ExpiresAt: now.Add(Kept)}
	found, err := a.store.Reserve(ctx, reservation, now.Add(-TakenOver))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("reserve an idempotency key: %w", err)
	case found == nil:
		return &reservation, nil, nil
	case found.Fingerprint != reservation.Fingerprint:
		return nil, nil, problem.New(problem.IdempotencyConflict, "The Idempotency-Key was used for a request with other content.")
	case found.Sealed == nil:
		return nil, nil, problem.New(problem.Conflict, "A request with this Idempotency-Key is being worked on; try again in a second.")
	}
	answer, err := a.open(reservation.Key, found.Sealed)
	return nil, answer, err
}

// Finish keeps the answer of a reserved request, or frees the key when the same request may well get another answer next time:
// after a failure of the service, when it came too fast, and when the answer is too large. A nil answer says that there was
// none.
func (a *Answers) Finish(ctx context.Context, r *Reservation, answer *Answer) error {
	_, err := a.finish(ctx, r, answer)
	return err
}

// Keep is Finish inside the transaction of the write that the answer tells of, so that there is never the one without the
// other. It fails with problem.Conflict when the key is no longer reserved for the request (it was given up) or is answered
// for: its write must not be made any more, since the same request may have come again.
func (a *Answers) Keep(ctx context.Context, r *Reservation, answer *Answer) error {
	held, err := a.finish(ctx, r, answer)
	if err == nil && !held {
		err = problem.New(problem.Conflict, "The request took too long, and its Idempotency-Key is no longer reserved for it; try again.")
	}
	return err
}

func (a *Answers) finish(ctx context.Context, r *Reservation, answer *Answer) (held bool, err error) {
	if answer == nil || answer.Status >= 500 || answer.Status == 429 || len(answer.Body) > MaxAnswer {
		if err := a.store.Release(ctx, r.Key, r.Token); err != nil {
			return false, fmt.Errorf("release an idempotency key: %w", err)
		}
		return true, nil
	}
	plain, err := json.Marshal(answer)
	if err != nil {
		return false, fmt.Errorf("encode an answer: %w", err)
	}
	sealed, err := a.sealer.Seal(plain, associated(r.Key)...)
	if err != nil {
		return false, fmt.Errorf("seal an answer: %w", err)
	}
	if held, err = a.store.Answer(ctx, r.Key, r.Token, sealed); err != nil {
		return false, fmt.Errorf("keep an answer: %w", err)
	}
	return held, nil
}

func (a *Answers) open(key Key, sealed []byte) (*Answer, error) {
	plain, err := a.sealer.Open(sealed, associated(key)...)
	if err != nil {
		return nil, fmt.Errorf("open a kept answer: %w", err)
	}
	var answer Answer
	if err := json.Unmarshal(plain, &answer); err != nil {
		return nil, fmt.Errorf("decode a kept answer: %w", err)
	}
	return &answer, nil
}

// associated binds a sealed answer to its row.
func associated(key Key) []string { return reseal.AnswerPlace(hex.EncodeToString(key[:])) }

const maxDeleted = 500

// PurgeStep deletes what is no longer kept.
func (a *Answers) PurgeStep(ctx context.Context) (time.Time, error) {
	now := a.now()
	deleted, err := a.store.DeleteExpired(ctx, now, maxDeleted)
	if err != nil {
		return time.Time{}, fmt.Errorf("delete expired answers: %w", err)
	}
	if deleted == maxDeleted {
		return now, nil
	}
	return now.Add(time.Minute), nil
}
