package delivery_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/tests/closedset"
)

// examples is every change with every field filled, by the name of its Go type.
func examples() map[string]delivery.Change {
	o := delivery.Outcome{
		Kind: delivery.KindHTTPStatus, StartedAt: at(time.Second), Duration: 250 * time.Millisecond,
		RequestHeaders: map[string]string{"X-Ordinavo-Event-Id": "evt_1"}, Status: 503,
		ResponseHeaders: map[string]string{"Retry-After": "120"}, ResponseBody: []byte("try later \x00\xff"),
		Error: "the receiver answered 503", RetryAfter: 2 * time.Minute, TraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
	}
	return closedset.Named[delivery.Change](
		scheduled(),
		delivery.AttemptSucceeded{At: at(time.Minute), Attempt: attempt(2, o)},
		delivery.AttemptFailed{At: at(time.Minute), Attempt: attempt(2, o), NextAt: at(time.Hour)},
		delivery.AttemptAbandoned{At: at(time.Minute), Number: 2, StartedAt: at(time.Second), NextAt: at(time.Hour)},
		delivery.Parked{At: start, Reason: "the subscription is paused"},
		delivery.Released{At: start},
		delivery.DeadLettered{At: start, Reason: delivery.ReasonExhausted},
		delivery.RetryRequested{At: start},
		delivery.Cancelled{At: start, Reason: "the subscription was deleted"},
	)
}

func TestChanges(t *testing.T) {
	closedset.Changes[delivery.Change]{
		Aggregate: "delivery", Examples: examples(), Encode: delivery.Encode, Decode: delivery.Decode, Reasoned: "delivery.parked",
	}.Test(t)
}

// TestKindsAreComplete reads the source: Kinds must list every constant of the type.
func TestKindsAreComplete(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "outcome.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if of, ok := spec.Type.(*ast.Ident); ok && of.Name == "Kind" {
				declared = append(declared, strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`))
			}
		}
		return true
	})
	var listed []string
	for _, kind := range delivery.Kinds() {
		listed = append(listed, string(kind))
	}
	if len(declared) == 0 || !slices.Equal(declared, listed) {
		t.Errorf("declared %v, listed %v", declared, listed)
	}
}
