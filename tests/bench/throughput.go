package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"
)

// workload is a way in which events come in.
type workload struct {
	name        string
	quick       bool
	each        int // events of a request
	lines       bool
	connections int
	tenants     int
	fanOut      int // subscriptions of each tenant
}

// Names of figures that the bars ask for.
const (
	batched    = "batched by 100"
	oneByOne   = "one by one from 64 connections"
	delivered  = "delivered"
	serviceCPU = "service CPU ms per 1,000"
	bytesEach  = "bytes of database per delivery"
)

var workloads = []workload{
	{batched, true, 100, false, 8, 1, 1},
	{oneByOne, true, 1, false, 64, 1, 1},
	{"NDJSON by 1,000", false, 1000, true, 4, 1, 1},
	{"fan-out 1→10", false, 100, false, 8, 1, 10},
	{"200 tenants × 5 subscriptions", false, 100, false, 8, 200, 5},
}

// measure is from the first POST to the last arrival.
func (w workload) measure(ctx context.Context, b *bench, s setup) error {
	return b.with(ctx, s, func(c *cluster) error {
		if err := w.prepare(ctx, b, c); err != nil {
			return err
		}
		m := &maker{tenants: w.tenants}
		list := m.requests(b.events/w.fanOut, w.each, w.lines)
		profiled := c.profile(b.pprof, s.String()+" "+w.name+" "+strconv.Itoa(b.lab.databases))
		before, err := c.usage(ctx)
		if err != nil {
			return err
		}
		m.next = 0
		took, accepted, err := b.deliver(ctx, c, list, w.connections, b.events/w.fanOut*w.fanOut)
		if err != nil {
			return err
		}
		profiled()
		return w.note(ctx, b, c, before, took, accepted)
	})
}

func (w workload) prepare(ctx context.Context, b *bench, c *cluster) error {
	for t := range w.tenants {
		if err := c.tenant(ctx, tenantID(t)); err != nil {
			return err
		}
		for i := range w.fanOut {
			if err := c.subscribe(ctx, tenantID(t), fmt.Sprintf("%s%s/%d", b.receiver.url, hook, i), matching); err != nil {
				return err
			}
		}
	}
	return nil
}

// deliver posts the requests and waits for so many more arrivals.
func (b *bench) deliver(ctx context.Context, c *cluster, list []request, connections, arrivals int) (took, accepted time.Duration, err error) {
	target := int(b.receiver.count.Load()) + arrivals
	began := time.Now()
	if err := c.emitAll(ctx, list, connections); err != nil {
		return 0, 0, err
	}
	accepted = time.Since(began)
	err = b.receiver.await(ctx, target)
	return time.Since(began), accepted, err
}

func (w workload) note(ctx context.Context, b *bench, c *cluster, before usage, took, accepted time.Duration) error {
	after, err := c.usage(ctx)
	if err != nil {
		return err
	}
	size, err := c.database.bytes(ctx)
	if err != nil {
		return err
	}
	n := float64(b.receiver.count.Load())
	b.report.rate(name(c.setup, w.name, delivered), n/took.Seconds())
	b.report.add(name(c.setup, w.name, "events accepted"), "1/s", n/float64(w.fanOut)/accepted.Seconds())
	b.report.add(name(c.setup, w.name, serviceCPU), "ms", (after.service-before.service)*1e6/n)
	if c.kind == kindPostgres {
		b.report.add(name(c.setup, w.name, "database CPU ms per 1,000"), "ms", (after.database-before.database)*1e6/n)
	}
	b.report.add(name(c.setup, w.name, "peak RSS"), "MiB", after.peakMiB)
	b.report.add(name(c.setup, w.name, bytesEach), "B", float64(size)/n)
	b.report.add(name(c.setup, w.name, "arrived twice"), "", float64(b.receiver.again.Load()))
	if c.kind == kindPostgres && b.statements {
		return errors.Join(c.database.printStatements(ctx), c.database.printSizes(ctx, n))
	}
	return nil
}

// profile takes CPU and allocation profiles of the first process, until the function that it returns is called.
func (c *cluster) profile(dir, called string) (done func()) {
	if dir == "" {
		return func() {}
	}
	return takeProfiles(c.processes[0].pprof, filepath.Join(dir, called))
}
