package fanout

import (
	"time"

	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Plan is what one batch of events comes to.
type Plan struct {
	Bodies    []Body
	Scheduled []Scheduled
	Gated     []Gated
	SetAside  []SetAside
	// Sweeps are of lanes whose subscription has changed since the events were accepted. Their own sweep may be over, and would
	// miss what is scheduled in them now.
	Sweeps []sweep.Sweep
	// Tallies count the dispositions, one for each tenant and hour of acceptance.
	Tallies []Tally
	// Taken are deferred events whose turn is now: they stop waiting, except those that Deferred lists again.
	Taken, Deferred []Deferred
}

// Body is rendered once for each distinct view of an event and shared by its deliveries.
type Body struct {
	Tenant  tenant.ID
	EventID string
	Number  int // from 1, within the event
	Bytes   []byte
	// Unreadable says of a body that the store returned that what is stored is damaged.
	Unreadable error
}

// Scheduled is a new delivery with the changes that led to it.
type Scheduled struct {
	Delivery    delivery.Delivery
	Changes     []delivery.Change
	TraceParent string
	AcceptedAt  time.Time
	Lease       string // empty when nobody holds it yet
	// Replay says that somebody has asked for it since its event was disposed of.
	Replay bool
}

// CountedAt is kept as the time when the delivery's event was accepted, by which its disposition is counted. A replay is none: it would be
// a surplus in its event's hour when it is the first delivery to its subscription.
func (s Scheduled) CountedAt() time.Time {
	if s.Replay {
		return reconciliation.OfReplay(s.AcceptedAt)
	}
	return reconciliation.OfDisposition(s.AcceptedAt)
}

// SetAside is an event that cannot be handled however often it is tried, kept with the reason and what its tally counted of it.
type SetAside struct {
	Tenant       tenant.ID `json:"-"`
	EventID      string    `json:"eventId"`
	Reason       string    `json:"reason"`
	At           time.Time `json:"at"`
	NotMatched   int       `json:"notMatched"`
	FeatureGated int       `json:"featureGated"`
	SetAside     int       `json:"setAside"`
}

// Expected is how many subscriptions it was counted for.
func (p SetAside) Expected() int { return p.NotMatched + p.FeatureGated + p.SetAside }

// Gated is the disposition of an event that matched but may not be sent.
type Gated struct {
	Tenant         tenant.ID
	EventID        string
	SubscriptionID string
	Feature        tenant.Feature
	// SubscriptionVersion is the one that governed the event.
	SubscriptionVersion int64
	AcceptedAt          time.Time
}
