package postgres

import (
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// A status stands in the statement's text only where it is one that the domain knows to be final: whatever else comes is an argument.
func TestNothingButKnownStatusesGetsIntoTheText(t *testing.T) {
	for status, inText := range map[delivery.Status]bool{delivery.StatusDeadLetter: true, delivery.StatusCancelled: true, delivery.StatusPending: false, "' OR true --": false} {
		sql, args := listDeliveries(queries.DeliveryFilter{Tenant: "acme", Status: status, Limit: 1})
		if got := strings.Contains(sql, string(status)); got != inText {
			t.Errorf("%s, in the text %t: %s %v", status, got, sql, args)
		}
	}
}
