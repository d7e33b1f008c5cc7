package dispatch

import (
	"context"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Request is one signed POST, ready to leave.
type Request struct {
	Tenant tenant.ID
	URL    string
	// Headers are the contract's (section 4), complete but for Host and Content-Length.
	Headers map[string]string
	Body    []byte
	// Timeout covers everything up to the last byte read of the answer.
	Timeout time.Duration
	// Exhausted hears why this machine had nothing left to connect with, if nothing was sent for that; nil for nobody.
	Exhausted func(by error)
}

// Sender performs one HTTP exchange. It never returns an error: whatever goes wrong is an outcome.
// It fills every field of the Outcome but TraceID.
type Sender interface {
	Send(ctx context.Context, request Request) delivery.Outcome
}
