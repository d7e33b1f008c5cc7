package postgres_test

import (
	"os"
	"testing"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestMain takes a server that does not wait for the disk, and logs no more than it needs itself: hundreds of databases come and go here.
// What is said about crashes is shown on servers of its own.
func TestMain(m *testing.M) {
	pgtest.Configure("fsync=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0")
	os.Exit(m.Run())
}
