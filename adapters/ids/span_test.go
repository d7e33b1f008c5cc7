package ids_test

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/ids"
	"github.com/ordinavo/webhooks/domain/job"
)

// An ID that is made while its maker's clock is set back still lies within the time that its record has.
func TestSpan(t *testing.T) {
	now := time.Date(2026, 6, 18, 16, 40, 0, 0, time.UTC)
	source := ids.New(func() time.Time { return now }, rand.Reader)
	made := now
	now = now.Add(20 * time.Hour)
	ahead := source.New("dlv_") // and the next ones are no earlier
	now = made.Add(-30 * time.Second)
	back := ids.New(func() time.Time { return now }, rand.Reader).New("dlv_")
	first, end := ids.Span("dlv_", made, made.Add(time.Microsecond))
	for name, id := range map[string]string{"of a clock that was ahead": ahead, "of one set back": back, "no earlier than what was ahead": source.New("dlv_")} {
		if id < first || id >= end {
			t.Errorf("%s %s is not from %s up to %s", id, name, first, end)
		}
	}
	if first, end = ids.Span("dlv_", made.Add(2*time.Minute), made.Add(-25*time.Hour)); back >= first || ahead < end {
		t.Errorf("from %s up to %s is no bound", first, end)
	}
	if first, end = ids.Span("dlv_", time.Time{}, time.Time{}); first != "" || end != "" {
		t.Errorf("got %q and %q for no time", first, end)
	}
}

// Whoever has seen in a list what failed in a time sends it again with a job of the same time.
func TestAJobReachesAsFarAsAList(t *testing.T) {
	asked := time.Date(2026, 6, 18, 16, 40, 0, 0, time.UTC)
	f := job.Filter{Since: asked.Add(-2 * time.Hour), Until: asked.Add(-time.Hour)}
	j := job.New("job_"+strings.Repeat("0", 26), "acme", job.Retry, job.Original, f, job.Requester{}, asked)
	j.ReachTo("dlv_~")
	first, end := ids.Span("dlv_", f.Since, f.Until)
	if j.After > first || j.UpTo() < end[:len("dlv_")+10] {
		t.Errorf("a job goes from %s to %s, a list from %s up to %s", j.After, j.UpTo(), first, end)
	}
}
