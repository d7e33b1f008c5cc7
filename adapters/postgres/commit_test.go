package postgres

import (
	"errors"
	"slices"
	"testing"

	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// An older backup, or a standby that was behind, takes the place of a server whose answer to a commit was lost. It has not
// come to that transaction yet, and says so with an error, which is an answer.
func TestALostAnswerThatNobodyKnowsOf(t *testing.T) {
	t.Parallel()
	db, err := Open(Config{URL: pgtest.Empty(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var told []bool
	tx.WhenEnded(func(committed bool) { told = append(told, committed) })
	tx.xid = "9000000000000000000"
	if err := tx.resolve(errors.New("cut off")); !problem.Is(err, problem.Unavailable) || errors.Is(err, errUnknown) {
		t.Errorf("the commit gave %v", err)
	}
	if !slices.Equal(told, []bool{false}) {
		t.Errorf("who waited was told %v, want that it is undone", told)
	}
}
