package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const slowest = "slowest arrival after kill -9"

// holding runs fn while another connection keeps a transaction open.
func holding(ctx context.Context, url, statement string, fn func() error) (err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tx.Rollback(context.WithoutCancel(ctx))) }()
	if _, err := tx.Exec(ctx, statement); err != nil {
		return err
	}
	return fn()
}

// killed kills one process, each time another, in the middle of deliveries whose receiver takes its time.
func killed(ctx context.Context, b *bench, s setup) error {
	for i := range repeats {
		b.receiver.reset()
		b.receiver.answer(hook, b.receiver.slowly(200*time.Millisecond))
		if err := b.withOne(ctx, s, func(c *cluster) error { return b.kill(ctx, c, i%s.processes) }); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) kill(ctx context.Context, c *cluster, victim int) error {
	const rate, seconds = 200, 2
	accepted, since, err := emitUntilKilled(ctx, c, (&maker{}).requests(rate*seconds, 1, false), rate, victim)
	if err != nil {
		return err
	}
	if len(c.processes) == 0 {
		since = time.Now()
		p, err := c.start(ctx)
		if err != nil {
			return err
		}
		c.processes = append(c.processes, p)
	}
	last, err := b.lastArrival(ctx, accepted)
	if err != nil {
		return err
	}
	b.report.add(name(c.setup, slowest), "s", max(0, last.Sub(since).Seconds()))
	b.report.add(name(c.setup, "arrived twice after kill -9"), "", float64(b.receiver.again.Load()))
	return nil
}

// emitUntilKilled emits at a rate and then kills a process. It returns the events that were answered 202.
func emitUntilKilled(ctx context.Context, c *cluster, list []request, rate, victim int) (accepted []int, at time.Time, err error) {
	var mu sync.Mutex
	var running sync.WaitGroup
	began := time.Now()
	for i, r := range list {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		running.Go(func() {
			if c.emit(ctx, r) != nil {
				return // killed before it was accepted
			}
			mu.Lock()
			defer mu.Unlock()
			accepted = append(accepted, r.events...)
		})
	}
	at = time.Now()
	c.processes[victim].end(syscall.SIGKILL)
	running.Wait()
	c.processes = slices.Delete(c.processes, victim, victim+1)
	if len(accepted) == 0 {
		return nil, at, errors.New("nothing was accepted before the kill")
	}
	return accepted, at, nil
}

func (b *bench) lastArrival(ctx context.Context, accepted []int) (last time.Time, err error) {
	end := time.Now().Add(stalled)
	for _, n := range accepted {
		at, arrived := b.receiver.at(eventID(n), hook)
		for !arrived {
			if ctx.Err() != nil || time.Now().After(end) {
				return last, fmt.Errorf("event %d was accepted and did not arrive", n)
			}
			time.Sleep(time.Millisecond)
			at, arrived = b.receiver.at(eventID(n), hook)
		}
		if at.After(last) {
			last = at
		}
	}
	return last, nil
}
