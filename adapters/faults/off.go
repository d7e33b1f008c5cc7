//go:build !faults

package faults

import (
	"time"

	"github.com/ordinavo/webhooks/adapters/database"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
)

// Clock is the clock as it is.
func Clock(now func() time.Time) func() time.Time { return now }

// Store is the store as it is.
func Store(s database.Store) database.Store { return s }

// Sender is the sender as it is.
func Sender(s dispatch.Sender) dispatch.Sender { return s }

// AtOnce is how many deliveries fan-out schedules at once; 0 for as many as it does by itself.
func AtOnce() int { return 0 }

// FanOut is the observer as it is.
func FanOut(o fanout.Observer) fanout.Observer { return o }
