package delivery

import (
	"fmt"
	"slices"
)

// Status is where a delivery stands (contract, section 5).
type Status string

// The statuses. Delivering is Pending or Retrying while a process holds the lease.
const (
	StatusPending    Status = "pending"
	StatusDelivering Status = "delivering"
	StatusRetrying   Status = "retrying"
	StatusParked     Status = "parked"
	StatusSucceeded  Status = "succeeded"
	StatusDeadLetter Status = "dead_letter"
	StatusCancelled  Status = "cancelled"
)

// rules is the one place that says what a status means; lists, metrics and sweeps ask it.
var rules = map[Status]struct {
	terminal  bool
	claimable bool
	retryable bool // by hand
	next      []Status
}{
	StatusPending:    {claimable: true, next: []Status{StatusDelivering, StatusParked, StatusCancelled, StatusSucceeded, StatusRetrying, StatusDeadLetter}},
	StatusDelivering: {next: []Status{StatusSucceeded, StatusRetrying, StatusDeadLetter, StatusPending, StatusCancelled}},
	StatusRetrying:   {claimable: true, retryable: true, next: []Status{StatusDelivering, StatusParked, StatusCancelled, StatusPending, StatusSucceeded, StatusRetrying, StatusDeadLetter}},
	StatusParked:     {next: []Status{StatusPending, StatusCancelled}},
	StatusSucceeded:  {terminal: true, retryable: true, next: []Status{StatusPending}},
	StatusDeadLetter: {terminal: true, retryable: true, next: []Status{StatusPending}},
	StatusCancelled:  {terminal: true, retryable: true, next: []Status{StatusPending}},
}

// Statuses lists all of them, in the order of a delivery's life.
func Statuses() []Status {
	return []Status{StatusPending, StatusDelivering, StatusRetrying, StatusParked, StatusSucceeded, StatusDeadLetter, StatusCancelled}
}

// ParseStatus refuses what is not a status.
func ParseStatus(text string) (Status, error) {
	if _, ok := rules[Status(text)]; !ok {
		return "", fmt.Errorf("unknown delivery status %q", text)
	}
	return Status(text), nil
}

// IsTerminal reports whether the delivery is closed.
func (s Status) IsTerminal() bool { return rules[s].terminal }

// IsClaimable reports whether a dispatcher may lease the delivery when it is due.
func (s Status) IsClaimable() bool { return rules[s].claimable }

// IsRetryable reports whether somebody may ask for another attempt now.
func (s Status) IsRetryable() bool { return rules[s].retryable }

// RetryableStatuses lists those in which a delivery may be sent again by hand.
func RetryableStatuses() (retryable []Status) {
	for _, s := range Statuses() {
		if s.IsRetryable() {
			retryable = append(retryable, s)
		}
	}
	return retryable
}

// MayBecome reports whether the transition is legal.
func (s Status) MayBecome(next Status) bool { return slices.Contains(rules[s].next, next) }
