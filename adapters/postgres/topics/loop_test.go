package topics

import (
	"errors"
	"testing"
	"time"

	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"

	"github.com/ordinavo/webhooks/adapters/eventlog"
	"github.com/ordinavo/webhooks/adapters/postgres"
)

func TestAnotherProcessesTurnIsRespectedWhileItGetsOn(t *testing.T) {
	s := &source{db: &postgres.DB{}, patience: time.Hour}
	waiting := []eventlog.Record{{}}
	for _, c := range []struct {
		holder  string
		from    int64
		waiting []eventlog.Record
		want    bool
	}{{"", 0, waiting, false}, {"other", 1, nil, false}, {"other", 1, waiting, true}, {"other", 2, waiting, true}} {
		if got := s.othersTurn(seen{Found: eventlog.Found{From: c.from, Records: c.waiting}, holder: c.holder}); got != c.want {
			t.Errorf("%+v gave %t", c, got)
		}
	}
	s.patience = 0 // the time in which it got on with nothing has passed
	if s.othersTurn(seen{Found: eventlog.Found{From: 2, Records: waiting}, holder: "other"}) {
		t.Error("the turn of a process that is gone is respected for ever")
	}
}

// TestWhatIsNotAskedForIsRefused would catch a watermill-sql that runs queries of its own.
func TestWhatIsNotAskedForIsRefused(t *testing.T) {
	s := session{&loop{}}
	if _, err := s.QueryContext(t.Context(), "SELECT 1"); !errors.Is(err, errUnexpected) {
		t.Errorf("a foreign query gave %v", err)
	}
	if _, err := s.ExecContext(t.Context(), "DELETE"); !errors.Is(err, errUnexpected) {
		t.Errorf("a foreign statement gave %v", err)
	}
	if _, err := (schema{}).InsertQuery(wsql.InsertQueryParams{}); !errors.Is(err, errUnexpected) {
		t.Errorf("a foreign publisher got %v", err)
	}
}
