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

// longestSilence is for how long the server's machine may leave what it was sent without an acknowledgement before the connection
// counts as broken. A server that went without a word (a failover, a network that was cut) would else be waited for until the
// kernel gives up, after a quarter of an hour: by who commits what is accepted, who fans out and who records, all the while.
// A server that only takes its time is not meant: its machine acknowledges.
const longestSilence = 15 * time.Second

// tcpUserTimeout is TCP_USER_TIMEOUT of Linux (RFC 5482), in milliseconds. It bounds what keep-alive does not: the wait for the
// acknowledgement of what was sent.
const tcpUserTimeout = 18

// reachForPrimary has connections lead to a server that takes writes, the first one if the URL names several, unless the URL says
// otherwise (by a target_session_attrs other than any): one that was demoted answers whatever is only read.
func reachForPrimary(config *pgx.ConnConfig) {
	config.DialFunc = boundSilence(config.DialFunc)
	if config.ValidateConnect == nil {
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
}

// boundSilence has the kernel give up connections that dial makes.
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
