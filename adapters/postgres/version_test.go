package postgres_test

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestAServerThatIsTooOldIsNotWaitedFor: its operator is told so, and by no statement or parameter that it does not know.
func TestAServerThatIsTooOldIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"12.22 (Debian 12.22-1)": "connect to the database: the server is too old: it is PostgreSQL 12.22 (Debian 12.22-1), and 13 is the oldest that will do",
		"9.6.24":                 "connect to the database: the server is too old: it is PostgreSQL 9.6.24, and 13 is the oldest that will do",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := openURL(t, postgres.Config{URL: aServerOf(t, version)}).Await(ctx, func(err error) {
			cancel() // rather than for ever
			t.Errorf("version %s was waited for, which does not mend it: %v", version, err)
		})
		cancel()
		if said := fmt.Sprint(err); said != want {
			t.Errorf("version %s gave %q, want %q", version, said, want)
		}
	}
}

// aServerOf says that it is of the version, and answers whatever it is asked with "off".
func aServerOf(t *testing.T, version string) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	pgtest.Check(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go greet(conn, version)
		}
	}()
	return "postgres://ordinavo@" + listener.Addr().String() + "/ordinavo?sslmode=disable"
}

func greet(conn net.Conn, version string) {
	defer func() { _ = conn.Close() }()
	server, ready := pgproto3.NewBackend(conn, conn), &pgproto3.ReadyForQuery{TxStatus: 'I'}
	if _, err := server.ReceiveStartupMessage(); err != nil {
		return
	}
	server.Send(&pgproto3.AuthenticationOk{})
	server.Send(&pgproto3.ParameterStatus{Name: "server_version", Value: version})
	server.Send(ready)
	for server.Flush() == nil {
		if _, err := server.Receive(); err != nil {
			return
		}
		server.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("answer"), DataTypeOID: 25}}})
		server.Send(&pgproto3.DataRow{Values: [][]byte{[]byte("off")}})
		server.Send(&pgproto3.CommandComplete{CommandTag: []byte("SHOW")})
		server.Send(ready)
	}
}
