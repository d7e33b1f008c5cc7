package event

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// Subscription is what an operational event tells of a subscription: neither its URL, which may hold a
// password, nor its secrets.
type Subscription struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// Reason is why it was disabled.
	Reason *string `json:"reason,omitempty"`
	// FailuresInARow and FailingSince say for how long nothing has succeeded.
	FailuresInARow *int64     `json:"failuresInARow,omitempty"`
	FailingSince   *time.Time `json:"failingSince,omitempty"`
}

// Delivery is what an operational event tells of a delivery: not its body, nor what the receiver answered.
type Delivery struct {
	ID           string    `json:"id"`
	EventID      string    `json:"eventId"`
	EventType    Type      `json:"eventType"`
	Status       string    `json:"status"`
	Reason       string    `json:"reason"`
	AttemptCount int64     `json:"attemptCount"`
	CreatedAt    time.Time `json:"createdAt"`
	// LastOutcome and LastResponseStatus are of the last attempt; no status when nothing was answered.
	LastOutcome        string `json:"lastOutcome"`
	LastResponseStatus *int64 `json:"lastResponseStatus,omitempty"`
}

// SecretRotation is a rotation whose overlap ends at OverlapEnd.
type SecretRotation struct {
	OverlapEnd time.Time `json:"overlapEnd"`
}

// DerivedID is an eventId that follows from what the event is about: whoever tells the same twice gives it the same ID.
// IDs sort by the time, in milliseconds.
func DerivedID(at time.Time, about ...string) string {
	hash := sha256.New()
	for _, part := range about {
		hash.Write(binary.AppendUvarint(nil, uint64(len(part))))
		hash.Write([]byte(part))
	}
	var ulid [16]byte // 48 bits of time, 80 of the hash
	binary.BigEndian.PutUint64(ulid[:], uint64(at.UnixMilli())<<16)
	copy(ulid[6:], hash.Sum(nil))
	return idPrefix + crockford(ulid)
}

// crockford is the text of a ULID: 26 digits of 5 bits, of which the first has 3.
func crockford(ulid [16]byte) string {
	high, low := binary.BigEndian.Uint64(ulid[:8]), binary.BigEndian.Uint64(ulid[8:])
	var text [ulidLength]byte
	for i := ulidLength - 1; i >= 0; i-- {
		text[i] = crockfordBase[low&31]
		low = low>>5 | high<<59
		high >>= 5
	}
	return string(text[:])
}

// operationalSample tells of the subscription and the delivery that the documentation's other examples name.
func operationalSample(t Type, e Event) Event {
	e.Subscription = &Subscription{ID: "sub_01JZ8A2MS0Q4B7W9D3F6H8K1N5", Name: "SAP"}
	switch t {
	case SubscriptionDisabled:
		e.Subscription.Reason = new("the receiver answered 410 Gone")
	case SubscriptionFailing:
		e.Subscription.FailuresInARow, e.Subscription.FailingSince = new(int64(10)), new(sampleTime.Add(-10*time.Minute))
	case DeliveryDeadLettered:
		e.Delivery = &Delivery{
			ID: "dlv_01JZ8A2MV4N8S6D2K5X0R7T9QA", EventID: "evt_01JZ2V7Q2F5N8R1T4W6Y9A3C7E", EventType: VisitReportApproved, Status: "dead_letter",
			Reason: "the retry schedule is used up", AttemptCount: 10, CreatedAt: sampleTime.Add(-48 * time.Hour),
			LastOutcome: "http_status", LastResponseStatus: new(int64(503)),
		}
	case SecretRotationEnding:
		e.SecretRotation = &SecretRotation{sampleTime.Add(6 * time.Hour)}
	default: // the others are not operational
	}
	return e
}
