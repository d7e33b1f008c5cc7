package process_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/ordinavo/webhooks/ports/process"
)

// saying answers everything with its text.
func saying(text string) *http.Server {
	return &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })}
}

func ask(t *testing.T, address string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// One server after the other answers on the same listener, and nobody is refused in between.
func TestWhileLendsTheListener(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address, failed := listener.Addr().String(), errors.New("it is not there")
	between := make(chan string)
	err = process.While(listener.(*net.TCPListener), saying("wait"), func() error {
		if got := ask(t, address); got != "wait" {
			t.Errorf("meanwhile it says %q", got)
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	go func() { between <- ask(t, address) }()
	next := saying("here")
	defer func() { _ = next.Close() }()
	go func() { _ = next.Serve(listener) }()
	if got := <-between; got != "here" {
		t.Errorf("then it says %q", got)
	}
	// A server that had no time to begin leaves the listener alone, too.
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if err := process.While(other.(*net.TCPListener), saying("wait"), func() error { return nil }); err != nil && !errors.Is(err, http.ErrServerClosed) {
			t.Fatal(err)
		}
	}
	last := saying("last")
	defer func() { _ = last.Close() }()
	go func() { _ = last.Serve(other) }()
	if got := ask(t, other.Addr().String()); got != "last" {
		t.Errorf("at last it says %q", got)
	}
}

// strict ends well only when its listener says that it is closed, as a server does that knows no other end.
type strict struct{ listener chan net.Listener }

func (s strict) Serve(listener net.Listener) error {
	s.listener <- listener
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		_ = conn.Close()
	}
}

func (s strict) Shutdown(context.Context) error { return (<-s.listener).Close() }

// A process that has waited for its database has not failed.
func TestAServerThatStandsInEndsWell(t *testing.T) {
	listener, err := process.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	for range 2 {
		if err := process.While(listener, strict{make(chan net.Listener, 1)}, func() error { return nil }); err != nil {
			t.Errorf("it ends with %v", err)
		}
	}
}
