package main

import (
	"testing"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// What a server has used never becomes less, although its backends end: a run's figure had been negative.
func TestADatabasesCPUOnlyGrows(t *testing.T) {
	server, err := pgtest.Start("fsync=off")
	pgtest.Check(t, err)
	defer func() { _ = server.Stop() }()
	l := &lab{postgres: server}
	busy := `SELECT count(*) FROM generate_series(1, 100000)`
	last := 0.0
	for range 100 {
		var n int
		if err := ask(t.Context(), server.URL, busy, &n); err != nil { // by a backend that ends behind it
			t.Fatal(err)
		}
		used, err := l.serverCPU(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if used < last {
			t.Fatalf("after %.2f s of CPU the server has used %.2f s", last, used)
		}
		last = used
	}
	if last == 0 {
		t.Error("no CPU is counted")
	}
}
