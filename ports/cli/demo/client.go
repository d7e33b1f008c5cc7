package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// client calls the API, as a tenant's admin or a product service does.
type client struct {
	url, key string
	tenant   string // for a platform key
	trace    string // traceparent of the caller
}

func (c client) as(tenant string) client {
	c.tenant = tenant
	return c
}

// problem is an error answer.
type problem struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func (p *problem) Error() string { return fmt.Sprintf("%d %s: %s", p.Status, p.Code, p.Detail) }

// call sends a request and decodes the answer into the given value, which may be nil.
func (c client) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(ctx, arriveWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, body)
	if err != nil {
		return err
	}
	for name, value := range map[string]string{"Authorization": "Bearer " + c.key, "X-Ordinavo-Tenant": c.tenant, "traceparent": c.trace, "Content-Type": "application/json"} {
		if value != "" {
			request.Header.Set(name, value)
		}
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return err
	}
	if answer.StatusCode >= http.StatusBadRequest {
		p := &problem{Status: answer.StatusCode, Detail: string(text)}
		_ = json.Unmarshal(text, p)
		return fmt.Errorf("%s %s: %w", method, path, p)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// until calls GET path until ok says so.
func until[T any](ctx context.Context, c client, path string, ok func(T) bool) (T, error) {
	deadline := time.Now().Add(arriveWithin)
	for {
		var got T
		if err := c.call(ctx, http.MethodGet, path, nil, &got); err != nil {
			return got, err
		}
		if ok(got) {
			return got, nil
		}
		if time.Now().After(deadline) {
			return got, fmt.Errorf("GET %s did not change in time; it says %+v", path, got)
		}
		select {
		case <-ctx.Done():
			return got, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
