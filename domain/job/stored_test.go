package job_test

import (
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/job"
)

func TestWhatIsDamagedIsAJobThatHasFailed(t *testing.T) {
	made := time.UnixMilli(1_782_000_000_123).UTC()
	id := "job_" + ulid(made)
	for name, stored := range map[string]string{"no JSON": "\x02", "another's": `{"id":"job_2","tenantId":"acme","status":"running"}`,
		"another tenant's": `{"id":"` + id + `","tenantId":"other","status":"running"}`} {
		j := job.Read("acme", id, []byte(stored))
		if j.Status != job.Failed || j.Open() || j.Reason == "" || j.ID != id || j.Tenant != "acme" || !j.CreatedAt.Equal(made) {
			t.Errorf("%s: %+v", name, j)
		}
	}
	if j := job.Read("acme", id, []byte(`{"id":"`+id+`","tenantId":"acme","status":"running"}`)); j.Status != job.Running {
		t.Errorf("%+v", j)
	}
}
