package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A service closes a connection on which nothing is asked for a minute; to drain a backlog can take longer than that.
func TestAnOldConnectionIsNotUsed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	c := &client{address: server.Listener.Addr().String()}
	defer c.close()
	post := func() {
		t.Helper()
		if err := c.post(t.Context(), "/", "", "application/json", nil); err != nil || len(c.idle) != 1 {
			t.Fatalf("%d idle connections, %v", len(c.idle), err)
		}
	}
	post()
	first := c.idle[0]
	if post(); c.idle[0] != first {
		t.Error("a connection was used once only")
	}
	server.CloseClientConnections()
	first.used = time.Now().Add(-maxIdle - time.Second)
	if post(); c.idle[0] == first {
		t.Error("the old connection was used")
	}
}
