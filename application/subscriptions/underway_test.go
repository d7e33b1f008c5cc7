package subscriptions

import (
	"errors"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/problem"
)

func TestWhatIsUnderWayIsCountedUntilItsEnd(t *testing.T) {
	var u Underway
	begin := func(ofTenant, inAll int) (end func()) {
		t.Helper()
		end, err := u.Begin("acme", func(of, all int) *problem.Error {
			if of != ofTenant || all != inAll {
				t.Errorf("%d of the tenant's and %d in all are under way, want %d and %d", of, all, ofTenant, inAll)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return end
	}
	first := begin(0, 0)
	second := begin(1, 1)
	first()
	first() // ends nothing twice
	third := begin(1, 1)
	second()
	third()
	if u.all != 0 || len(u.of) != 0 {
		t.Errorf("%d are under way, %v", u.all, u.of)
	}
	refused := problem.New(problem.RateLimited, "no")
	if _, err := u.Begin("acme", func(int, int) *problem.Error { return refused }); !errors.Is(err, refused) || refused.RetryAfter != time.Second || u.all != 0 {
		t.Errorf("refused with %v, to come again after %s, and %d are under way", err, refused.RetryAfter, u.all)
	}
}
