package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/signature"
)

const event = `{"eventId":"%s","eventType":"visit_report.approved","occurredAt":"2026-06-18T16:40:00Z","tenantId":"bench","customerId":12,"locationId":34,"contactId":56,` +
	`"visitReport":{"id":901,"title":"Maintenance visit - Essen Center","status":"Approved","result":"Successful","followUpRequired":false,"isBillable":true,` +
	`"billingStatus":"NotReady","attachmentCount":2,"summary":"All units inspected, filters cleaned. No defects found; next service is due in a year."},` +
	`"target":{"id":455,"title":"Maintenance visit"}}`

// eventID is the n-th ID of a run.
func eventID(n int) string { return fmt.Sprintf("evt_01JZ8A2MT8G7C3Y7%010d", n) }

// bareLoop signs and posts the same body as often, from 16 connections: what this machine can do at all.
func bareLoop(ctx context.Context, r *receiver, n int) (float64, error) {
	r.reset()
	key := secret.FromBytes([32]byte{1, 2, 3})
	body := bytes.Repeat([]byte("x"), 1200)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	var next atomic.Int64
	began := time.Now()
	err := parallel(16, func() error {
		for {
			i := int(next.Add(1))
			if i > n {
				return nil
			}
			signed := signature.Sign(body, time.Now(), eventID(i), key, key)
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
			if err != nil {
				return err
			}
			request.Header.Set("X-Ordinavo-Event-Id", eventID(i))
			request.Header.Set(signature.HeaderBody, signed.Body)
			request.Header.Set(signature.HeaderStandard, signed.Standard)
			answer, err := client.Do(request)
			if err != nil {
				return err
			}
			_ = answer.Body.Close()
		}
	})
	return float64(n) / time.Since(began).Seconds(), err
}

func parallel(n int, fn func() error) error {
	var running sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		running.Go(func() { errs[i] = fn() })
	}
	running.Wait()
	return errors.Join(errs...)
}

// throughput is from the first POST to the last arrival.
func throughput(ctx context.Context, r *report, s *service, rc *receiver, limit float64, n, batch, connections int) error {
	rc.reset()
	if err := s.prepare(ctx, rc.url); err != nil {
		return err
	}
	cpuBefore, _ := s.used()
	var next atomic.Int64
	began := time.Now()
	err := parallel(connections, func() error {
		for {
			last := int(next.Add(int64(batch)))
			if last > n {
				return nil
			}
			var events []string
			for i := last - batch; i < last; i++ {
				events = append(events, fmt.Sprintf(event, eventID(i)))
			}
			body := events[0]
			if batch > 1 {
				body = `{"events":[` + strings.Join(events, ",") + `]}`
			}
			if err := s.post(ctx, "/v1/events", []byte(body)); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return err
	}
	accepted := time.Since(began)
	for rc.count.Load() < int64(n) {
		if time.Since(began) > 5*time.Minute {
			return fmt.Errorf("only %d of %d arrived", rc.count.Load(), n)
		}
		time.Sleep(time.Millisecond)
	}
	took := time.Since(began).Seconds()
	cpu, rss := s.used()
	name := fmt.Sprintf("%s, batches of %d from %d connections", s.kind, batch, connections)
	r.add("1/s", float64(n)/took, "%s: delivered", name)
	r.add("×", float64(n)/took/limit, "%s: over limit A", name)
	r.add("1/s", float64(n)/accepted.Seconds(), "%s: accepted", name)
	r.add("s", (cpu-cpuBefore)*1000/float64(n), "%s: CPU for 1,000", name)
	r.add("MiB", rss, "%s: peak memory", name)
	r.add("", float64(rc.again.Load()), "%s: duplicates", name)
	return nil
}

// latency sends at a fixed rate, each event at its time whatever became of those before (open loop).
func latency(ctx context.Context, r *report, s *service, rc *receiver, rate int, long time.Duration) error {
	rc.reset()
	if err := s.prepare(ctx, rc.url); err != nil {
		return err
	}
	n := int(long.Seconds()) * rate
	posted, answered := make([]time.Time, n), make([]time.Time, n)
	errs := make([]error, n)
	var running sync.WaitGroup
	began := time.Now()
	for i := range n {
		due := began.Add(time.Duration(i) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(due))
		running.Go(func() {
			posted[i] = due
			errs[i] = s.post(ctx, "/v1/events", fmt.Appendf(nil, event, eventID(i)))
			answered[i] = time.Now()
		})
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	deadline := time.Now().Add(10 * time.Second)
	for rc.count.Load() < int64(n) && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	var fromPost, fromAnswer []float64
	for i := range n {
		at, ok := rc.at(eventID(i))
		if !ok {
			return fmt.Errorf("event %d did not arrive", i)
		}
		fromPost = append(fromPost, float64(at.Sub(posted[i]).Microseconds())/1000)
		fromAnswer = append(fromAnswer, float64(at.Sub(answered[i]).Microseconds())/1000)
	}
	for name, values := range map[string][]float64{"POST → arrival": fromPost, "202 → arrival": fromAnswer} {
		slices.Sort(values)
		for _, p := range []float64{50, 99, 99.9} {
			r.add("ms", values[min(n-1, int(float64(n)*p/100))], "%s, %d/s: %s, p%v", s.kind, rate, name, p)
		}
	}
	return nil
}
