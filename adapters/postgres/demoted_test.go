package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestAServerThatWasDemoted takes no writes, and is as good as away until one that does is found under the same name.
func TestAServerThatWasDemoted(t *testing.T) {
	t.Parallel()
	url := openEmpty(t).pool.Config().ConnString()
	admin, err := pgx.Connect(t.Context(), url)
	pgtest.Check(t, err)
	t.Cleanup(func() { _ = admin.Close(context.WithoutCancel(t.Context())) })
	exec := func(sql string) {
		t.Helper()
		_, err := admin.Exec(t.Context(), strings.ReplaceAll(sql, "$", pgx.Identifier{admin.Config().Database}.Sanitize()))
		pgtest.Check(t, err)
	}
	exec(`ALTER DATABASE $ SET default_transaction_read_only = on`)
	open := func(url string) *Store {
		db, err := Open(Config{URL: url})
		pgtest.Check(t, err)
		t.Cleanup(func() { _ = db.Close() })
		return NewStore(db, nil)
	}
	waiting, unaware := open(url), open(url+param(url)+"target_session_attrs=prefer-standby")
	pgtest.Check(t, unaware.Ping(t.Context()))
	if err := waiting.Ping(t.Context()); !problem.Is(err, problem.Unavailable) {
		t.Errorf("a server that takes no writes passes for one that is there: %v", err)
	}
	if err := unaware.Heartbeat(t.Context(), "inc_1", time.Now()); !problem.Is(err, problem.Unavailable) {
		t.Errorf("a write gave %v", err)
	}
	pgtest.Check(t, unaware.Ping(t.Context())) // its next connection leads there as well

	exec(`SET default_transaction_read_only = off`)
	exec(`ALTER DATABASE $ RESET default_transaction_read_only`)
	if err := unaware.Heartbeat(t.Context(), "inc_1", time.Now()); !problem.Is(err, problem.Unavailable) {
		t.Errorf("a write by a connection to the demoted server gave %v", err)
	}
	pgtest.Check(t, unaware.Heartbeat(t.Context(), "inc_1", time.Now()))
	pgtest.Check(t, waiting.Heartbeat(t.Context(), "inc_1", time.Now()))
}

// param joins a URL and its next parameter.
func param(url string) string {
	if strings.Contains(url, "?") {
		return "&"
	}
	return "?"
}

// TestOfSeveralHostsTheOneThatTakesWrites is what a connection leads to, behind one that is away and one that was demoted.
func TestOfSeveralHostsTheOneThatTakesWrites(t *testing.T) {
	t.Parallel()
	hosts := []string{"127.0.0.1:1"} // where nobody listens
	var primary *pgtest.Server
	for _, readOnly := range []string{"on", "off"} {
		server, err := pgtest.Start("fsync=off", "default_transaction_read_only="+readOnly)
		pgtest.Check(t, err)
		t.Cleanup(func() { _ = server.Stop() })
		hosts, primary = append(hosts, fmt.Sprintf("127.0.0.1:%d", server.Port)), server
	}
	db, err := Open(Config{URL: strings.Replace(primary.URL, hosts[2], strings.Join(hosts, ","), 1)})
	pgtest.Check(t, err)
	t.Cleanup(func() { _ = db.Close() })
	pgtest.Check(t, db.Await(t.Context(), func(err error) { t.Error(err) }))
	if port := countOf(t, db, `SELECT inet_server_port()`); port != int64(primary.Port) {
		t.Errorf("it leads to port %d, want %d of %v", port, primary.Port, hosts)
	}
}
