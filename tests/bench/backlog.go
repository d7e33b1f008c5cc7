package main

import (
	"context"
	"fmt"
	"time"
)

// Names of figures that the bars ask for.
const (
	besideRatio   = "another lane's throughput over that with none"
	drainRatio    = "its own drain over the throughput with none"
	snapshotRatio = "throughput with a snapshot held open over that without"
	addedDelay    = "p50 with a transaction open in another database less p50 without"
)

const backlogPath = hook + "/backlog"

// backlog has tenant 0 with a receiver that is down, and tenant 1 with one that is well.
func backlog(ctx context.Context, b *bench, s setup) error {
	return b.with(ctx, s, func(c *cluster) error {
		for t, path := range []string{backlogPath, hook} {
			if err := c.tenant(ctx, tenantID(t)); err != nil {
				return err
			}
			if err := c.subscribe(ctx, tenantID(t), b.receiver.url+path, matching); err != nil {
				return err
			}
		}
		b.receiver.answer(backlogPath, refuse)
		beside := &maker{first: 1, next: 100_000_000}
		if _, err := b.beside(ctx, c, beside); err != nil { // for warming up
			return err
		}
		none, err := b.beside(ctx, c, beside)
		if err != nil {
			return err
		}
		b.report.rate(name(s, "no backlog", "throughput"), none)
		back := &maker{}
		for _, size := range []int{4 * b.events, 20 * b.events} { // of 50,000 events: 200,000 and 1,000,000
			if err := b.atBacklog(ctx, c, back, beside, size, none); err != nil {
				return err
			}
		}
		return nil
	})
}

// thousands writes 1000000 as 1,000,000.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

// beside is the throughput of the healthy tenant.
func (b *bench) beside(ctx context.Context, c *cluster, m *maker) (rate float64, err error) {
	took, _, err := b.deliver(ctx, c, m.requests(b.events, 100, false), 8, b.events)
	return float64(b.events) / took.Seconds(), err
}

func (b *bench) atBacklog(ctx context.Context, c *cluster, back, beside *maker, size int, none float64) error {
	b.receiver.answer(backlogPath, refuse)
	if err := b.fillFrom(ctx, c, back, size); err != nil {
		return err
	}
	called := thousands(size) + " in the backlog"
	rate, err := b.beside(ctx, c, beside)
	if err != nil {
		return err
	}
	b.report.rate(name(c.setup, called, "throughput of another lane"), rate)
	b.report.add(name(c.setup, called, besideRatio), "", rate/none)
	if rate, err = b.drain(ctx); err != nil {
		return err
	}
	b.report.rate(name(c.setup, called, "its own drain"), rate)
	b.report.add(name(c.setup, called, drainRatio), "", rate/none)
	u, err := c.usage(ctx)
	b.report.add(name(c.setup, called, "peak RSS"), "MiB", u.peakMiB)
	return err
}

// drain takes the backlog again, and measures from the first arrival, for which its circuit decides.
func (b *bench) drain(ctx context.Context) (rate float64, err error) {
	seen := int(b.receiver.count.Load())
	b.receiver.answer(backlogPath, nil)
	defer b.receiver.answer(backlogPath, refuse)
	if err := b.receiver.await(ctx, seen+1); err != nil {
		return 0, err
	}
	began := time.Now()
	err = b.receiver.await(ctx, seen+b.events)
	return float64(b.events) / time.Since(began).Seconds(), err
}

func (b *bench) fill(ctx context.Context, c *cluster, n int) error {
	return b.fillFrom(ctx, c, &maker{}, n)
}

// fillFrom emits events of tenant 0 until so many deliveries are open.
func (b *bench) fillFrom(ctx context.Context, c *cluster, m *maker, size int) error {
	began := time.Now()
	var open int
	for {
		if err := ask(ctx, c.database.url, `SELECT count(*) FROM open_deliveries`, &open); err != nil {
			return err
		}
		if open >= size {
			fmt.Printf("  %d deliveries are open after %.0f s\n", open, time.Since(began).Seconds())
			return nil
		}
		for missing := size - open; missing > 0; missing -= 20_000 {
			if err := c.emitAll(ctx, m.requests(min(missing, 20_000), 500, false), 8); err != nil {
				return err
			}
		}
		if err := b.fannedOut(ctx, c); err != nil {
			return err
		}
	}
}

// fannedOut returns when the number of open deliveries has stopped growing.
func (b *bench) fannedOut(ctx context.Context, c *cluster) error {
	for last := -1; ; {
		var open int
		if err := ask(ctx, c.database.url, `SELECT count(*) FROM open_deliveries`, &open); err != nil {
			return err
		}
		if open <= last {
			return nil
		}
		last = open
		time.Sleep(2 * time.Second)
	}
}

// sustain keeps the service busy for so long, and says how many a second arrived.
func (b *bench) sustain(ctx context.Context, c *cluster, m *maker, long time.Duration) (rate float64, err error) {
	const ahead = 5000 // what may be accepted and not yet delivered
	began, before := time.Now(), b.receiver.count.Load()
	emitted := before
	for time.Since(began) < long {
		for emitted-b.receiver.count.Load() > ahead {
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
			time.Sleep(time.Millisecond)
		}
		if err := c.emitAll(ctx, m.requests(800, 100, false), 8); err != nil {
			return 0, err
		}
		emitted += 800
	}
	rate = float64(b.receiver.count.Load()-before) / time.Since(began).Seconds()
	return rate, b.receiver.await(ctx, int(emitted))
}

// heldSnapshot compares a minute without a snapshot to three with one.
func heldSnapshot(ctx context.Context, b *bench, s setup) error {
	minute := pick(b.quick, 5*time.Second, time.Minute)
	return b.withOne(ctx, s, func(c *cluster) error {
		m := &maker{}
		without, err := b.sustain(ctx, c, m, minute)
		if err != nil {
			return err
		}
		b.report.rate(name(s, "sustained, no snapshot: throughput"), without)
		if err := b.showStatements(ctx, c); err != nil {
			return err
		}
		return holding(ctx, c.database.url, `SELECT count(*) FROM tenants`, func() error {
			var sum float64
			for i := range 3 {
				with, err := b.sustain(ctx, c, m, minute)
				if err != nil {
					return err
				}
				sum += with
				b.report.rate(name(s, fmt.Sprintf("sustained, minute %d with a snapshot held open: throughput", i+1)), with)
				if err := b.showStatements(ctx, c); err != nil {
					return err
				}
			}
			b.report.add(name(s, snapshotRatio), "", sum/3/without)
			return nil
		})
	})
}

// otherDatabase compares latencies in turns.
func otherDatabase(ctx context.Context, b *bench, s setup) error {
	other, err := b.lab.fresh(ctx, kindPostgres)
	if err != nil {
		return err
	}
	defer other.drop()
	return b.withOne(ctx, s, func(c *cluster) error {
		m := &maker{}
		for range repeats {
			without, err := b.latency(ctx, c, m, 50, 8)
			if err != nil {
				return err
			}
			err = holding(ctx, other.url, `CREATE TABLE held (n int)`, func() error {
				with, err := b.latency(ctx, c, m, 50, 8)
				if err == nil {
					b.report.add(name(s, addedDelay), "ms", at(50, with.post)-at(50, without.post))
					b.report.add(name(s, "p99 with a transaction open in another database less p99 without"), "ms", at(99, with.post)-at(99, without.post))
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}
