package payload

import "github.com/ordinavo/webhooks/domain/event"

// The blocks of operational events, which no option changes.

func (r *renderer) subscription() {
	s := r.event.Subscription
	if s == nil || !r.event.Type.Carries(event.BlockSubscription) {
		return
	}
	r.open("subscription")
	r.text("id", s.ID)
	r.text("name", s.Name)
	if r.event.Type == event.SubscriptionDisabled {
		r.optionalText("reason", s.Reason)
	}
	if r.event.Type == event.SubscriptionFailing {
		r.optionalInteger("failuresInARow", s.FailuresInARow)
		r.optionalMoment("failingSince", s.FailingSince)
	}
	r.close()
}

func (r *renderer) delivery() {
	d := r.event.Delivery
	if d == nil || !r.event.Type.Carries(event.BlockDelivery) {
		return
	}
	r.open("delivery")
	r.text("id", d.ID)
	r.text("eventId", d.EventID)
	r.text("eventType", string(d.EventType))
	r.text("status", d.Status)
	r.text("reason", d.Reason)
	r.integer("attemptCount", d.AttemptCount)
	r.moment("createdAt", d.CreatedAt)
	r.text("lastOutcome", d.LastOutcome)
	r.optionalInteger("lastResponseStatus", d.LastResponseStatus)
	r.close()
}

func (r *renderer) secretRotation() {
	s := r.event.SecretRotation
	if s == nil || !r.event.Type.Carries(event.BlockSecretRotation) {
		return
	}
	r.open("secretRotation")
	r.moment("overlapEnd", s.OverlapEnd)
	r.close()
}
