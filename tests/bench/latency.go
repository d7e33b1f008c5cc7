package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Names of figures that the bars ask for.
const (
	at50       = "at 50/s"
	fromPost   = "POST→arrival"
	fromAnswer = "202→arrival"
)

const latencySeconds = 15

func latencyAt50(ctx context.Context, b *bench, s setup) error {
	return b.withOne(ctx, s, func(c *cluster) error {
		measured, err := b.latency(ctx, c, &maker{}, 50, pick(b.quick, 8, latencySeconds))
		if err == nil {
			b.noteLatency(c.setup, at50, measured)
		}
		return err
	})
}

// latencyAtHalf takes half of what the database can do one by one, of this round when that was measured.
func latencyAtHalf(ctx context.Context, b *bench, s setup) error {
	maximum := b.report.last(name(s, oneByOne, delivered))
	return b.withOne(ctx, s, func(c *cluster) error {
		m := &maker{}
		if maximum == 0 {
			took, _, err := b.deliver(ctx, c, m.requests(5000, 1, false), 64, 5000)
			if err != nil {
				return err
			}
			maximum = 5000 / took.Seconds()
		}
		measured, err := b.latency(ctx, c, m, int(maximum/2), latencySeconds)
		if err == nil {
			b.report.add(name(s, "half the maximum"), "1/s", maximum/2)
			b.noteLatency(c.setup, "at half the maximum", measured)
		}
		return err
	})
}

// withOne runs fn with one tenant that has one subscription.
func (b *bench) withOne(ctx context.Context, s setup, fn func(*cluster) error) error {
	return b.with(ctx, s, func(c *cluster) error {
		if err := c.tenant(ctx, tenantID(0)); err != nil {
			return err
		}
		if err := c.subscribe(ctx, tenantID(0), b.receiver.url+hook, matching); err != nil {
			return err
		}
		return fn(c)
	})
}

// latencies in ms, sorted.
type latencies struct{ post, answer []float64 }

func at(p float64, sorted []float64) float64 {
	return sorted[min(len(sorted)-1, int(float64(len(sorted))*p/100))]
}

// latency emits at a fixed rate, each event at its time whatever became of those before (open loop). It is
// counted from when the event was due, so that a service that stalls is not spared what it kept from being sent.
func (b *bench) latency(ctx context.Context, c *cluster, m *maker, rate, seconds int) (l latencies, err error) {
	n := rate * seconds
	list := m.requests(n, 1, false)
	posted, answered, errs := make([]time.Time, n), make([]time.Time, n), make([]error, n)
	target := int(b.receiver.count.Load()) + n
	var running sync.WaitGroup
	began := time.Now()
	for i := range n {
		posted[i] = began.Add(time.Duration(i) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(posted[i]))
		running.Go(func() {
			errs[i] = c.emit(ctx, list[i])
			answered[i] = time.Now()
		})
	}
	running.Wait()
	for _, err := range errs {
		if err != nil {
			return l, err
		}
	}
	if err := b.receiver.await(ctx, target); err != nil {
		return l, err
	}
	for i, r := range list {
		arrived, ok := b.receiver.at(eventID(r.events[0]), hook)
		if !ok {
			return l, fmt.Errorf("event %d did not arrive", i)
		}
		l.post = append(l.post, milliseconds(arrived.Sub(posted[i])))
		l.answer = append(l.answer, milliseconds(arrived.Sub(answered[i])))
	}
	slices.Sort(l.post)
	slices.Sort(l.answer)
	return l, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (b *bench) noteLatency(s setup, rate string, l latencies) {
	for _, p := range []float64{50, 99, 99.9} {
		b.report.add(name(s, rate, fromPost, fmt.Sprintf("p%v", p)), "ms", at(p, l.post))
	}
	for _, p := range []float64{50, 99, 99.9} {
		b.report.add(name(s, rate, fromAnswer, fmt.Sprintf("p%v", p)), "ms", at(p, l.answer))
	}
}
