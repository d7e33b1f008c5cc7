package ids_test

import (
	"crypto/rand"
	"regexp"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/ids"
)

func TestIDsSortInTheOrderTheyWereMadeEvenWhenTheClockIsSetBack(t *testing.T) {
	now := time.Date(2026, 6, 18, 16, 40, 0, 0, time.UTC)
	source := ids.New(func() time.Time { return now }, rand.Reader)
	form := regexp.MustCompile(`^evt_[0-7][0-9A-HJKMNP-TV-Z]{25}$`)
	last := ""
	for i := range 10_000 {
		if i == 5000 {
			now = now.Add(-time.Hour)
		}
		id := source.New("evt_")
		if !form.MatchString(id) {
			t.Fatalf("%q has not the form of the contract", id)
		}
		if id <= last {
			t.Fatalf("%q does not come after %q", id, last)
		}
		last = id
	}
}
