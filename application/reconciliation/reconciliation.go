package reconciliation

import (
	"context"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Bounds of one question.
const (
	// MaxPeriod is the longest that may be asked for.
	MaxPeriod = 31 * 24 * time.Hour
	// MaxDeliveries is how many of more than one span are counted at most: a second or two of work. One span is counted whatever it has.
	MaxDeliveries = 500_000
	// MaxUnsettled is how many unsettled deliveries are listed.
	MaxUnsettled = 200
)

// Reader reads what was counted and what is there.
type Reader interface {
	// DeliveriesWithin is how many deliveries fan-out has counted of events accepted from since up to, not including, until.
	DeliveriesWithin(ctx context.Context, owner tenant.ID, since, until time.Time) (int, error)
	// Hours lists the hours that begin from since up to, not including, until, in order, all as of one moment.
	Hours(ctx context.Context, owner tenant.ID, since, until time.Time) ([]Hour, error)
	// Unsettled lists open deliveries of events accepted then, ordered by ID.
	Unsettled(ctx context.Context, owner tenant.ID, since, until time.Time, limit int) ([]delivery.Delivery, error)
}

// Report is the answer for a period.
type Report struct {
	Since, Until time.Time // whole hours
	Hours        []Hour
	Unsettled    []delivery.Delivery
	More         bool // there are other unsettled deliveries
}

// Service answers.
type Service struct {
	Reader Reader
	Now    func() time.Time
	// Kept is how long everything that is counted is kept; for what was accepted before that there is nothing to compare.
	Kept time.Duration
}

// Report reconciles what was accepted from since up to, not including, until. Both are widened to whole hours, and since is
// moved up to what is still kept; it may not be in an hour to come. Zero times stand for the last 24 hours.
func (s *Service) Report(ctx context.Context, owner tenant.ID, since, until time.Time) (Report, error) {
	now := s.Now()
	if until.IsZero() || until.After(now) {
		until = now
	}
	if since.IsZero() {
		since = until.Add(-24 * time.Hour)
	}
	if since.Truncate(Span).After(now) {
		return Report{}, problem.Invalid("since", "is in the future")
	}
	if until.Before(since) {
		until = since
	}
	if until.Sub(since) > MaxPeriod {
		return Report{}, problem.Invalid("since", "is more than 31 days before until")
	}
	if kept := KeptSince(now, s.Kept); since.Before(kept) {
		since = kept
	}
	report := Report{Since: since.Truncate(Span), Until: until.Add(Span - 1).Truncate(Span)}
	if report.Until.Before(report.Since) {
		report.Until = report.Since
	}
	err := s.fill(ctx, owner, &report)
	return report, err
}

func (s *Service) fill(ctx context.Context, owner tenant.ID, r *Report) error {
	size, err := s.Reader.DeliveriesWithin(ctx, owner, r.Since, r.Until)
	if err != nil {
		return fmt.Errorf("size a reconciliation: %w", err)
	}
	if size > MaxDeliveries && r.Until.Sub(r.Since) > Span {
		return problem.Invalid("since", "has %d deliveries up to until, at most %d are counted at once: ask for fewer hours", size, MaxDeliveries)
	}
	if r.Hours, err = s.Reader.Hours(ctx, owner, r.Since, r.Until); err != nil {
		return fmt.Errorf("reconcile: %w", err)
	}
	if r.Unsettled, err = s.Reader.Unsettled(ctx, owner, r.Since, r.Until, MaxUnsettled+1); err != nil {
		return fmt.Errorf("list what is not settled: %w", err)
	}
	if r.More = len(r.Unsettled) > MaxUnsettled; r.More {
		r.Unsettled = r.Unsettled[:MaxUnsettled]
	}
	return nil
}

// KeptSince is the first whole hour of which nothing has been deleted for its age.
func KeptSince(now time.Time, kept time.Duration) time.Time {
	return now.Add(-kept).Add(Span).Truncate(Span)
}
