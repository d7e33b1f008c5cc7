package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// errOther says that what is stored under a job's ID is another's.
var errOther = errors.New("it is another job's")

// Read reads what is stored of the tenant's job with the ID. What is damaged is a job that has failed and says so, with
// the error of reading it: so it holds up no other, and can be listed beside them.
func Read(owner tenant.ID, id string, stored []byte) (Job, error) {
	var j Job
	err := json.Unmarshal(stored, &j)
	if err == nil && (j.Tenant != owner || j.ID != id) {
		err = errOther
	}
	if err == nil {
		return j, nil
	}
	made := madeAt(id)
	return Job{ID: id, Tenant: owner, Kind: Retry, Mode: Original, Status: Failed, CreatedAt: made, FinishedAt: made, UpdatedAt: made,
		Reason: "what was stored of it is damaged: what it was, and how far it had come, is not known"}, fmt.Errorf("read %s: %w", id, err)
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
