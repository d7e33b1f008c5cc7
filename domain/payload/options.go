// Package payload renders the body that a receiver gets (contract, section 2). It builds from an
// allow-list: a field is sent because a line here writes it, never because an event has it.
package payload

import "github.com/ordinavo/webhooks/domain/event"

// Options is what a subscription decides about its bodies (contract, section 3).
type Options struct {
	// CustomerContext adds customer and location, and contact if ContactDetails is on as well.
	CustomerContext bool `json:"customerContext"`
	ContactDetails  bool `json:"contactDetails"`
	// SummaryPreview adds the beginning of the visit report's free text.
	SummaryPreview bool `json:"summaryPreview"`
	// BillingDetails adds billingEvent, for tenants with the billing feature.
	BillingDetails bool `json:"billingDetails"`
}

// DefaultOptions is the options of a subscription that names none.
func DefaultOptions() Options { return Options{CustomerContext: true, ContactDetails: true} }

// View is what decides about a body beside the event and the directory. It is comparable:
// subscriptions whose views of an event (see For) are equal get the same body.
type View struct {
	Options
	// Billing says that the tenant has the billing feature at the time of rendering.
	Billing bool
}

// For is the view with everything switched off that does not change the body of this event.
func (v View) For(e event.Event) View {
	hasContext := e.Type.HasCustomerContext() && v.CustomerContext
	contact := hasContext && v.ContactDetails && e.ContactID != nil
	billing := v.BillingDetails && v.Billing && e.BillingEvent != nil && e.Type.Carries(event.BlockBillingEvent)
	return View{
		Options: Options{
			CustomerContext: hasContext && (e.CustomerID != nil || e.LocationID != nil || contact),
			ContactDetails:  contact,
			SummaryPreview:  v.SummaryPreview && e.VisitReport != nil && e.Type.Carries(event.BlockVisitReport),
			BillingDetails:  billing,
		},
		Billing: billing,
	}
}

// Key tells bodies of one event apart: equal keys, equal bodies.
type Key struct {
	View         View
	SourceSystem string
}

// KeyFor is the key of the body that a subscription to the source system gets of the event.
func (v View) KeyFor(e event.Event, sourceSystem string) Key {
	key := Key{View: v.For(e), SourceSystem: sourceSystem}
	if len(References(e, v.Options)) == 0 {
		key.SourceSystem = "" // no external ID in the body, so the source system does not matter
	}
	return key
}
