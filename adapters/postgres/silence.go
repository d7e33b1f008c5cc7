package postgres

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// longestSilence is how long the server's machine may leave sent data unacknowledged before the connection counts as broken. Otherwise a
// server that vanished without a word (a failover, a network cut) would be waited for until the kernel gives up, after a quarter of an
// hour, by commits of accepted events, by fan-out and by recording alike. A server that is merely slow is not affected: its machine
// acknowledges.
const longestSilence = 15 * time.Second

// longestAnswer is for a server that hangs while its machine, or a proxy in front of it, acknowledges what is sent: its disk stands still, and
// another was promoted. The loop that asked it, such as the one that accepts events, would wait for good. No statement takes nearly as long,
// not even the check of an hour with ten million deliveries.
const longestAnswer = 5 * time.Minute

// tcpUserTimeout is Linux's TCP_USER_TIMEOUT (RFC 5482), in milliseconds. It bounds what keep-alive does not: the wait for the
// acknowledgement of sent data.
const tcpUserTimeout = 18

// reachForPrimary makes connections lead to a server that takes writes (the first such server when the URL names several), unless the URL
// has a target_session_attrs other than any. A demoted server would answer every read, and so pass for a healthy one. One that does not speak
// is as good as away: the next is tried.
func reachForPrimary(config *pgx.ConnConfig) {
	config.DialFunc = boundSilence(config.DialFunc)
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = acquireTimeout
	}
	if config.ValidateConnect == nil {
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
}

// prepareToConnect reads again the files that the URL names, for each connection of the pool: a client's certificate that was renewed, or a
// password, would else be unknown until a restart, and one that has expired leaves the process without connections within the hour.
func prepareToConnect(url string) func(context.Context, *pgx.ConnConfig) error {
	return func(ctx context.Context, config *pgx.ConnConfig) error {
		files, err := pgx.ParseConfig(url)
		if err != nil {
			return unavailable(fmt.Errorf("the database's URL: %w", err)) // a file may just be replaced
		}
		config.TLSConfig, config.Fallbacks, config.Password = files.TLSConfig, files.Fallbacks, files.Password
		return keepStatements(ctx, config)
	}
}

// speakPlainly has the server take and give texts as this process has them. By a default of the role's or the database's, such as that of a
// database in SQL_ASCII, it would take them for something else, and refuse some or keep others than were sent. Where a backslash is no plain
// character the driver sends no statement that has its values in it.
func speakPlainly(config *pgx.ConnConfig) {
	config.RuntimeParams["client_encoding"], config.RuntimeParams["standard_conforming_strings"] = "UTF8", "on"
}

// boundSilence makes the kernel give up silent connections that dial makes.
func boundSilence(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		tcp, ok := conn.(*net.TCPConn)
		if err != nil || !ok {
			return conn, err
		}
		if err := giveUp(tcp); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("bound the silence of a connection: %w", err)
		}
		return conn, nil
	}
}

func giveUp(conn *net.TCPConn) error {
	err := conn.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: longestSilence / 3, Interval: longestSilence / 3, Count: 2})
	if err != nil || runtime.GOOS != "linux" {
		return err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(longestSilence/time.Millisecond))
	})
	if controlErr != nil {
		return controlErr
	}
	return err
}
