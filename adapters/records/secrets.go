package records

import (
	"fmt"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/reseal"
	"github.com/ordinavo/webhooks/domain/secret"
)

// Sealer encrypts secrets at rest. A secret opens only with the associated texts that it was sealed with.
type Sealer interface {
	Seal(plain []byte, associated ...string) ([]byte, error)
	Open(sealed []byte, associated ...string) ([]byte, error)
}

// SealSecret seals a signing secret for this tenant, subscription and ID alone.
func SealSecret(by Sealer, plain secret.Secret, lane dispatch.Lane, secretID string) ([]byte, error) {
	sealed, err := by.Seal([]byte(plain.Reveal()), reseal.SecretPlace(lane.Tenant, lane.SubscriptionID, secretID)...)
	if err != nil {
		return nil, fmt.Errorf("seal a signing secret: %w", err)
	}
	return sealed, nil
}

// OpenSecret opens what SealSecret has sealed.
func OpenSecret(by Sealer, sealed []byte, lane dispatch.Lane, secretID string) (secret.Secret, error) {
	plain, err := by.Open(sealed, reseal.SecretPlace(lane.Tenant, lane.SubscriptionID, secretID)...)
	if err != nil {
		return secret.Secret{}, fmt.Errorf("open a signing secret: %w", err)
	}
	return secret.Parse(string(plain))
}
