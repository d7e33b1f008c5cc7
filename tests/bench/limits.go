package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/signature"
)

const limitACPU = limitA + ": CPU ms per 1,000"

// limits measures what this machine can do at all, just now.
func limits(ctx context.Context, b *bench, _ setup) error {
	if err := b.limitA(ctx); err != nil {
		return fmt.Errorf("limit A: %w", err)
	}
	if b.lab.postgres == nil {
		return nil
	}
	b.receiver.reset()
	if err := b.limitB(ctx); err != nil {
		return fmt.Errorf("limit B: %w", err)
	}
	return nil
}

// limitA runs the bare loop in a process of its own, whose CPU is its own.
func (b *bench) limitA(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	loop := exec.CommandContext(ctx, self, "-bare", b.receiver.url+hook, "-events", strconv.Itoa(b.events))
	began := time.Now()
	if text, err := loop.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, text)
	}
	took := time.Since(began).Seconds()
	cpu := loop.ProcessState.UserTime() + loop.ProcessState.SystemTime()
	b.report.add(limitA, "1/s", float64(b.events)/took)
	b.report.add(limitACPU, "ms", milliseconds(cpu)*1000/float64(b.events))
	return b.receiver.await(ctx, b.events)
}

// bareSenders is how many connections the bare loops send over.
const bareSenders = 16

// sender signs and posts, no more.
type sender struct {
	client *http.Client
	url    string
	key    secret.Secret
	body   []byte
}

func newSender(url string) *sender {
	return &sender{&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4 * bareSenders}}, url,
		secret.FromBytes([32]byte{1, 2, 3}), bytes.Repeat([]byte("x"), 1000)}
}

func (s *sender) send(ctx context.Context, event int) error {
	signed := signature.Sign(s.body, time.Now(), eventID(event), s.key, s.key)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(s.body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Ordinavo-Event-Id", eventID(event))
	request.Header.Set(signature.HeaderBody, signed.Body)
	request.Header.Set(signature.HeaderStandard, signed.Standard)
	answer, err := s.client.Do(request)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.Body.Close()
}

// bareLoop is limit A.
func bareLoop(ctx context.Context, url string, n int) error {
	s := newSender(url)
	var next atomic.Int64
	return parallel(bareSenders, func() error {
		for {
			i := int(next.Add(1)) - 1
			if i >= n {
				return nil
			}
			if err := s.send(ctx, i); err != nil {
				return err
			}
		}
	})
}

// The rows that the trial of the design had for each delivery: an event store by position and by stream, and a queue by due time.
const trialTables = `
CREATE TABLE accepted (tenant_id text NOT NULL, event_id text NOT NULL, accepted_at bigint NOT NULL, content bytea NOT NULL, PRIMARY KEY (tenant_id, event_id));
CREATE TABLE log (position bigint PRIMARY KEY, stream text NOT NULL, version bigint NOT NULL, type text NOT NULL, data bytea NOT NULL, UNIQUE (stream, version));
CREATE TABLE queue (delivery_id text PRIMARY KEY, event_id text NOT NULL, due_at bigint, status text NOT NULL);
CREATE INDEX queue_by_due ON queue (due_at) WHERE status = 'pending';
CREATE TABLE attempt (delivery_id text NOT NULL, number int NOT NULL, at bigint NOT NULL, status int NOT NULL, headers bytea NOT NULL, PRIMARY KEY (delivery_id, number))`

// filler is what a change says, and what a receiver answers.
var filler = bytes.Repeat([]byte("f"), 200)

const (
	trialBatch   = 250
	trialWorkers = 4 // batches under way at once
)

// limitB is the bare loop with an accepted row, a log row, a queue row, an attempt row and an update for each delivery.
func (b *bench) limitB(ctx context.Context) error {
	d, err := b.lab.fresh(ctx, kindPostgres)
	if err != nil {
		return err
	}
	defer d.drop()
	pool, err := pgxpool.New(ctx, d.url)
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, trialTables); err != nil {
		return err
	}
	t := &trial{pool: pool, sender: newSender(b.receiver.url + hook)}
	var next atomic.Int64
	began := time.Now()
	err = parallel(trialWorkers, func() error {
		for {
			last := int(next.Add(trialBatch))
			if last > b.events {
				return nil
			}
			if err := t.deliver(ctx, last-trialBatch); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return err
	}
	b.report.add(limitB, "1/s", float64(b.events/trialBatch*trialBatch)/time.Since(began).Seconds())
	return nil
}

type trial struct {
	pool   *pgxpool.Pool
	sender *sender
}

// deliver brings one batch all the way.
func (t *trial) deliver(ctx context.Context, first int) error {
	err := pgx.BeginFunc(ctx, t.pool, func(tx pgx.Tx) error { return t.schedule(ctx, tx, first) })
	if err != nil {
		return err
	}
	var next atomic.Int64
	err = parallel(bareSenders, func() error {
		for {
			i := int(next.Add(1)) - 1
			if i >= trialBatch {
				return nil
			}
			if err := t.sender.send(ctx, first+i); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, t.pool, func(tx pgx.Tx) error { return t.record(ctx, tx, first) })
}

func (t *trial) schedule(ctx context.Context, tx pgx.Tx, first int) error {
	now := time.Now().UnixMicro()
	for _, table := range []struct {
		name    string
		columns []string
		row     func(n int) []any
	}{
		{"accepted", []string{"tenant_id", "event_id", "accepted_at", "content"}, func(n int) []any { return []any{"bench", eventID(n), now, t.sender.body} }},
		{"log", []string{"position", "stream", "version", "type", "data"}, func(n int) []any {
			return []any{int64(n), "delivery/" + eventID(n), int64(1), "delivery.scheduled.v1", filler}
		}},
		{"queue", []string{"delivery_id", "event_id", "due_at", "status"}, func(n int) []any { return []any{"dlv_" + eventID(n), eventID(n), now, "pending"} }},
	} {
		rows := pgx.CopyFromSlice(trialBatch, func(i int) ([]any, error) { return table.row(first + i), nil })
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{table.name}, table.columns, rows); err != nil {
			return err
		}
	}
	return nil
}

func (t *trial) record(ctx context.Context, tx pgx.Tx, first int) error {
	now := time.Now().UnixMicro()
	ids := make([]string, trialBatch)
	rows := pgx.CopyFromSlice(trialBatch, func(i int) ([]any, error) {
		ids[i] = "dlv_" + eventID(first+i)
		return []any{ids[i], int32(1), now, int32(http.StatusOK), filler}, nil
	})
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"attempt"}, []string{"delivery_id", "number", "at", "status", "headers"}, rows); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `UPDATE queue SET status = 'succeeded' WHERE delivery_id = ANY($1)`, ids)
	return err
}
