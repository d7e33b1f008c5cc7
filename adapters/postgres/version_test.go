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
		err := openURL(t, postgres.Config{URL: aServerOf(t, version, version)}).Await(ctx, func(err error) {
			cancel() // rather than for ever
			t.Errorf("version %s was waited for, which does not mend it: %v", version, err)
		})
		cancel()
		if said := fmt.Sprint(err); said != want {
			t.Errorf("version %s gave %q, want %q", version, said, want)
		}
	}
}

// TestAServerThatWasUpgradedBehindAPgBouncerIsTried: that goes on greeting with the version from before.
func TestAServerThatWasUpgradedBehindAPgBouncerIsTried(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tried := false
	err := openURL(t, postgres.Config{URL: aServerOf(t, "12.22", "16.3 (Debian 16.3-1)")}).Await(ctx, func(error) {
		tried = true
		cancel() // it has no other answers
	})
	if !tried {
		t.Errorf("it was refused: %v", err)
	}
}

// aServerOf greets with a version, and answers whatever it is asked with another.
func aServerOf(t *testing.T, greeting, version string) (url string) {
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
			go greet(conn, greeting, version)
		}
	}()
	return "postgres://ordinavo@" + listener.Addr().String() + "/ordinavo?sslmode=disable"
}

func greet(conn net.Conn, greeting, version string) {
	defer func() { _ = conn.Close() }()
	server, ready := pgproto3.NewBackend(conn, conn), &pgproto3.ReadyForQuery{TxStatus: 'I'}
	if _, err := server.ReceiveStartupMessage(); err != nil {
		return
	}
	server.Send(&pgproto3.AuthenticationOk{})
	for name, value := range map[string]string{"server_version": greeting, "client_encoding": "UTF8", "standard_conforming_strings": "on"} {
		server.Send(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	server.Send(ready)
	for server.Flush() == nil {
		if _, err := server.Receive(); err != nil {
			return
		}
		server.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("answer"), DataTypeOID: 25}}})
		server.Send(&pgproto3.DataRow{Values: [][]byte{[]byte(version)}})
		server.Send(&pgproto3.CommandComplete{CommandTag: []byte("SHOW")})
		server.Send(ready)
	}
}
