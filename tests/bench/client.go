package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// client posts over as many connections as there are callers at once. It writes its requests by hand: what
// makes the load shares the machine with what is measured.
type client struct {
	address string
	mu      sync.Mutex
	idle    []*connection
}

type connection struct {
	net.Conn
	answers *bufio.Reader
	used    time.Time
}

const (
	platformKey = "ord_live_bench_00000000000000000000000000"
	callTimeout = 60 * time.Second
	// maxIdle is less than the minute after which the service closes a connection on which nothing is asked.
	maxIdle = 30 * time.Second
)

func (c *client) post(ctx context.Context, path, tenant, contentType string, body []byte) error {
	conn, err := c.take(ctx)
	if err != nil {
		return err
	}
	if err := conn.call(path, tenant, contentType, body); err != nil {
		_ = conn.Close()
		return fmt.Errorf("POST %s: %w", path, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.used = time.Now()
	c.idle = append(c.idle, conn)
	return nil
}

func (c *client) take(ctx context.Context) (*connection, error) {
	if conn := c.takeIdle(); conn != nil {
		return conn, nil
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.address)
	if err != nil {
		return nil, err
	}
	return &connection{Conn: conn, answers: bufio.NewReader(conn)}, nil
}

// takeIdle is the one that was used last. When that was long ago, all of them are closed.
func (c *client) takeIdle() *connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.idle) - 1
	if n < 0 {
		return nil
	}
	if time.Since(c.idle[n].used) > maxIdle {
		c.closeIdle()
		return nil
	}
	conn := c.idle[n]
	c.idle = c.idle[:n]
	return conn
}

func (c *connection) call(path, tenant, contentType string, body []byte) error {
	_ = c.SetDeadline(time.Now().Add(callTimeout))
	head := fmt.Appendf(make([]byte, 0, 512+len(body)), "POST %s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\nX-Ordinavo-Tenant: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n",
		path, platformKey, tenant, contentType, len(body))
	if _, err := c.Write(append(head, body...)); err != nil {
		return err
	}
	answer, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode >= http.StatusBadRequest {
		said, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("%s: %s", answer.Status, said)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closeIdle()
}

func (c *client) closeIdle() {
	for _, conn := range c.idle {
		_ = conn.Close()
	}
	c.idle = nil
}

// emit posts events to the processes in turn.
func (c *cluster) emit(ctx context.Context, r request) error {
	p := c.processes[c.turn.Add(1)%int64(len(c.processes))]
	return p.client.post(ctx, "/v1/events", "", r.contentType, r.body)
}

// emitAll posts from so many connections, each its next request when the last was answered.
func (c *cluster) emitAll(ctx context.Context, list []request, connections int) error {
	var next atomic.Int64
	return parallel(connections, func() error {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(list) {
				return nil
			}
			if err := c.emit(ctx, list[i]); err != nil {
				return err
			}
		}
	})
}

type object = map[string]any

func (c *cluster) create(ctx context.Context, path, tenant string, body object) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return c.processes[0].client.post(ctx, path, tenant, "application/json", text)
}

// tenant makes one with a directory.
func (c *cluster) tenant(ctx context.Context, id string) error {
	if err := c.create(ctx, "/v1/tenants", id, object{"tenantId": id, "name": "Bench"}); err != nil {
		return err
	}
	return c.create(ctx, "/v1/directory", id, object{
		"customers":   []object{{"ordinavoCustomerId": 12, "customerNumber": "RRM-001", "name": "Rhein-Ruhr Medical Supply"}},
		"locations":   []object{{"ordinavoLocationId": 34, "name": "Essen Center", "city": "Essen", "hasCoordinates": true}},
		"externalIds": []object{{"sourceSystem": "sap", "entityType": "customer", "ordinavoId": 12, "externalId": "CUST-10042"}},
	})
}

// laneInFlight is what a subscription here may have out at once: a receiver made for many events.
const laneInFlight = 64

// subscribe makes a subscription for the events of this program, or for others.
func (c *cluster) subscribe(ctx context.Context, tenant, url, types string) error {
	return c.create(ctx, "/v1/subscriptions", tenant, object{
		"name": "bench", "url": url, "eventTypes": []string{types}, "sourceSystem": "sap", "maxInFlight": laneInFlight})
}

// Types that match what is emitted here, and that do not.
const (
	matching = "visit_report.*"
	others   = "appointment.*"
)
