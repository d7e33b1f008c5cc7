package job

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// Read reads what is stored of the tenant's job with the ID. If it is damaged, or another's, the result is a failed job that
// says so: it holds up no other and can be listed beside them. Its kind and mode are unknown, and set to the first of each.
func Read(owner tenant.ID, id string, stored []byte) Job {
	var j Job
	if json.Unmarshal(stored, &j) == nil && j.Tenant == owner && j.ID == id {
		return j
	}
	made := madeAt(id)
	return Job{ID: id, Tenant: owner, Kind: Retry, Mode: Original, Status: Failed, CreatedAt: made, FinishedAt: made, UpdatedAt: made,
		Reason: "what was stored of it is damaged: what it was, and how far it had come, is not known"}
}

// madeAt is the time that is in a ULID behind its prefix, see idsFrom.
func madeAt(id string) time.Time {
	millis := int64(0)
	_, text, _ := strings.Cut(id, "_")
	for i := range min(10, len(text)) {
		millis = millis*32 + int64(max(0, strings.IndexByte(digits, text[i])))
	}
	return time.UnixMilli(millis).UTC()
}
