package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// Listen takes connections at host:port; port 0 takes a free one.
func Listen(address string) (*net.TCPListener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return listener.(*net.TCPListener), nil
}

// lendTimeout bounds the wait for the last answers of a server that only stands in.
const lendTimeout = time.Second

// While has server answer for as long as do works, and leaves the listener open for the next server: clients that connect in between wait
// in the listener's queue.
func While(listener *net.TCPListener, server Server, do func() error) error {
	l := &lent{TCPListener: listener}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	err := do()
	ctx, cancel := context.WithTimeout(context.Background(), lendTimeout)
	defer cancel()
	_ = server.Shutdown(ctx) // whoever is cut off has asked a service that could not work yet
	_ = l.Close()            // in case Serve had not begun yet
	return errors.Join(err, <-served, listener.SetDeadline(time.Time{}))
}

// lent is a listener whose Close ends its use by one server, and not the listener.
type lent struct {
	*net.TCPListener
	ended atomic.Bool
}

// Accept fails with net.ErrClosed after Close.
func (l *lent) Accept() (net.Conn, error) {
	conn, err := l.TCPListener.Accept()
	if err != nil && l.ended.Load() {
		return nil, net.ErrClosed
	}
	return conn, err
}

// Close wakes whoever waits in Accept.
func (l *lent) Close() error {
	l.ended.Store(true)
	return l.SetDeadline(time.Unix(1, 0))
}
