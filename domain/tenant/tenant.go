// Package tenant names the customers of Ordinavo and what they have booked.
package tenant

import "regexp"

// ID names a tenant: 1 to 64 of A-Z a-z 0-9 . _ - (contract, section 7).
type ID string

// IDRule says, after a field's name, what an ID must be.
const IDRule = "must be 1 to 64 of A-Z a-z 0-9 . _ -"

var idForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// Valid reports whether the ID has the form of the contract.
func (id ID) Valid() bool { return idForm.MatchString(string(id)) }

// Feature is something a tenant may have booked.
type Feature string

// BillingWebhooks gates every billing.* type and the billingDetails option (contract, section 2).
const BillingWebhooks Feature = "billing_webhooks"

// KnownFeature reports whether the platform knows the feature.
func KnownFeature(f Feature) bool { return f == BillingWebhooks }

// A tenant's weight is its part of what processes do at once, in proportion to the other tenants' weights.
const (
	DefaultWeight = 1
	MaxWeight     = 100
)
