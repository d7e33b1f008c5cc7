package preview

import (
	"fmt"
	"testing"

	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// A tenant that asks for previews at once takes neither the memory of the process nor the places of the others.
func TestPreviewsAtOnceAreBounded(t *testing.T) {
	boundedAtOnce(t, newWorld().previewer().Begin)
}

// Each examination takes the processor for as long as its body is hashed.
func TestExaminationsAtOnceAreBounded(t *testing.T) {
	boundedAtOnce(t, (&Doctor{}).Begin)
}

func boundedAtOnce(t *testing.T, start func(tenant.ID) (end func(), err error)) {
	t.Helper()
	var ends []func()
	begin := func(owner string) {
		t.Helper()
		end, err := start(tenant.ID(owner))
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	refused := func(owner string, code problem.Code) {
		t.Helper()
		if _, err := start(tenant.ID(owner)); !problem.Is(err, code) {
			t.Errorf("%s: %v, want %s", owner, err, code)
		}
	}
	for range MaxAtOnceForTenant {
		begin("loud")
	}
	refused("loud", problem.RateLimited)
	for i := range MaxAtOnce - MaxAtOnceForTenant {
		begin(fmt.Sprint("quiet", i))
	}
	refused("another", problem.Unavailable)
	refused("loud", problem.RateLimited)
	ends[0]()
	ends[0]() // does not make room twice
	begin("loud")
	refused("another", problem.Unavailable)
	for _, end := range ends {
		end()
	}
}
