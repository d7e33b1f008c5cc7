package intake

import (
	"context"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// QuotaStore counts what tenants send on a day. A context from InTx carries its transaction.
type QuotaStore interface {
	// CountDay adds to what each of the tenants sent on the day (midnight, UTC) and returns the new totals. Nobody else counts
	// for them until the transaction ends. A tenant's count of an earlier day is forgotten, and so is that of a day later
	// than the next one, which a wrong clock has left; what is counted for the day before the last one counts for that.
	CountDay(ctx context.Context, day time.Time, sent map[tenant.ID]int) (map[tenant.ID]int, error)
}

const day = 24 * time.Hour

// sentToday is how much each tenant has sent so far, which nobody changes until the transaction ends; nil without a quota.
func (in *Intake) sentToday(ctx context.Context, tenants map[tenant.ID]bool) (map[tenant.ID]int, error) {
	if in.limits.EventsPerDay == 0 {
		return nil, nil
	}
	nothing := make(map[tenant.ID]int, len(tenants))
	for id, exists := range tenants {
		if exists {
			nothing[id] = 0
		}
	}
	return in.countDay(ctx, nothing)
}

// countSent adds what is about to be accepted.
func (in *Intake) countSent(ctx context.Context, fresh []Accepted) error {
	if in.limits.EventsPerDay == 0 {
		return nil
	}
	sent := map[tenant.ID]int{}
	for _, a := range fresh {
		sent[a.TenantID]++
	}
	_, err := in.countDay(ctx, sent)
	return err
}

func (in *Intake) countDay(ctx context.Context, sent map[tenant.ID]int) (map[tenant.ID]int, error) {
	if len(sent) == 0 {
		return sent, nil
	}
	counted, err := in.quotas.CountDay(ctx, in.now().Truncate(day), sent)
	if err != nil {
		return nil, fmt.Errorf("count the events of the day: %w", err)
	}
	return counted, nil
}

// withinQuota refuses a whole submission whose new events exceed what is left of the day.
func (in *Intake) withinQuota(s *Submission, sent map[tenant.ID]int) error {
	if in.limits.EventsPerDay == 0 {
		return nil
	}
	fresh := map[tenant.ID]int{}
	for _, a := range s.fresh {
		fresh[a.TenantID]++
		if sent[a.TenantID]+fresh[a.TenantID] > in.limits.EventsPerDay {
			now := in.now()
			return later(problem.RateLimited, now.Truncate(day).Add(day).Sub(now),
				"The tenant %s may send %d events a day (UTC), and has sent %d today.", a.TenantID, in.limits.EventsPerDay, sent[a.TenantID])
		}
	}
	return nil
}
