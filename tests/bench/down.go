package main

import (
	"context"
)

// Names of figures that the bars ask for.
const (
	downRatio = "accepted with every receiver down over all up"
	hangRatio = "healthy tenants' p99 beside the hanging endpoint over that without it"
	manyRatio = "10,000 subscriptions of which 10 match over 10: time per event"
)

// repeats is how often what is compared within one scenario is measured, in turns.
const repeats = 3

// receiversDown compares how fast events are accepted.
func receiversDown(ctx context.Context, b *bench, s setup) error {
	var up, down []float64
	for range repeats {
		for _, state := range []struct {
			down  bool
			rates *[]float64
			name  string
		}{{false, &up, "up"}, {true, &down, "down"}} {
			rate, err := b.acceptedWhile(ctx, s, state.down)
			if err != nil {
				return err
			}
			*state.rates = append(*state.rates, rate)
			b.report.add(name(s, "accepted with every receiver "+state.name), "1/s", rate)
		}
	}
	for i := range up {
		b.report.add(name(s, downRatio), "", down[i]/up[i])
	}
	return nil
}

// acceptedWhile takes three times the events of other scenarios: those are accepted within a second, which one slow write to the disk decides.
func (b *bench) acceptedWhile(ctx context.Context, s setup, down bool) (rate float64, err error) {
	events := 3 * b.events
	b.receiver.reset()
	if down {
		b.receiver.answer(hook, refuse)
	}
	err = b.withOne(ctx, s, func(c *cluster) error {
		m := &maker{}
		_, accepted, err := b.deliver(ctx, c, m.requests(events, 100, false), 8, 0)
		if err != nil {
			return err
		}
		rate = float64(events) / accepted.Seconds()
		return b.showStatements(ctx, c)
	})
	return rate, err
}

// hangingEndpoint has tenant 0 with a receiver that never answers and 100,000 due deliveries beside a healthy tenant 1.
func hangingEndpoint(ctx context.Context, b *bench, s setup) error {
	b.receiver.answer(hook+"/hanging", hang)
	return b.with(ctx, s, func(c *cluster) error {
		for t, path := range []string{hook + "/hanging", hook} {
			if err := c.tenant(ctx, tenantID(t)); err != nil {
				return err
			}
			if err := c.subscribe(ctx, tenantID(t), b.receiver.url+path, matching); err != nil {
				return err
			}
		}
		healthy := &maker{first: 1}
		without, err := b.p99s(ctx, c, healthy, "healthy tenants' p99")
		if err != nil {
			return err
		}
		if err := b.fill(ctx, c, 2*b.events); err != nil {
			return err
		}
		beside, err := b.p99s(ctx, c, healthy, "healthy tenants' p99 beside an endpoint that hangs")
		if err != nil {
			return err
		}
		b.report.add(name(s, hangRatio), "", median(beside)/median(without))
		return nil
	})
}

func (b *bench) p99s(ctx context.Context, c *cluster, m *maker, called string) (values []float64, err error) {
	for range repeats {
		l, err := b.latency(ctx, c, m, 50, 10)
		if err != nil {
			return nil, err
		}
		values = append(values, at(99, l.post))
		b.report.add(name(c.setup, called), "ms", at(99, l.post))
	}
	return values, nil
}

// manySubscriptions compares two tenants in one service.
func manySubscriptions(ctx context.Context, b *bench, s setup) error {
	const many, match = 10000, 10
	return b.with(ctx, s, func(c *cluster) error {
		for t, n := range []int{match, many} {
			if err := c.tenant(ctx, tenantID(t)); err != nil {
				return err
			}
			if err := b.subscribeMany(ctx, c, t, n, match); err != nil {
				return err
			}
		}
		makers := []*maker{{first: 0}, {first: 1, next: 10_000_000}}
		var times [2][]float64
		for round := range repeats + 1 {
			for t, m := range makers {
				n := b.events / match / repeats
				took, _, err := b.deliver(ctx, c, m.requests(n, 100, false), 8, n*match)
				if err != nil {
					return err
				}
				if round > 0 { // the first is for warming up
					times[t] = append(times[t], milliseconds(took)/float64(n))
				}
			}
		}
		for i := range repeats {
			b.report.add(name(s, "ms per event with 10 subscriptions"), "ms", times[0][i])
			b.report.add(name(s, "ms per event with 10,000 of which 10 match"), "ms", times[1][i])
			b.report.add(name(s, manyRatio), "", times[1][i]/times[0][i])
		}
		return nil
	})
}

func (b *bench) subscribeMany(ctx context.Context, c *cluster, t, n, match int) error {
	todo := make(chan int, n)
	for i := range n {
		todo <- i
	}
	close(todo)
	return parallel(16, func() error {
		for i := range todo {
			if err := c.subscribe(ctx, tenantID(t), b.receiver.url+hook+"/"+tenantID(i), pick(i < match, matching, others)); err != nil {
				return err
			}
		}
		return nil
	})
}
