package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // counts the pages of a file
)

// usage is CPU seconds so far, and the highest resident memory of a process.
type usage struct{ service, database, peakMiB float64 }

func (c *cluster) usage(ctx context.Context) (u usage, err error) {
	for _, p := range c.processes {
		pid := p.command.Process.Pid
		u.service += float64(statOf(pid).own) / ticksPerSecond
		u.peakMiB = max(u.peakMiB, peakOf(pid))
	}
	if c.kind == kindPostgres {
		u.database, err = c.lab.serverCPU(ctx)
	}
	return u, err
}

// stat is what the kernel says of a process.
type stat struct {
	parent     int
	own, ended int // CPU ticks; those of children that were waited for
}

const ticksPerSecond = 100

func statOf(pid int) (s stat) {
	text, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	_, rest, _ := strings.Cut(string(text), ") ") // behind the name, which may have spaces
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return s
	}
	number := func(i int) int {
		n, _ := strconv.Atoi(fields[i])
		return n
	}
	s.parent = number(1)
	s.own = number(11) + number(12)
	s.ended = number(13) + number(14)
	return s
}

func peakOf(pid int) float64 {
	text, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kib / 1024
		}
	}
	return 0
}

// serverCPU is of the server and its children, alive or not.
func (l *lab) serverCPU(ctx context.Context) (seconds float64, err error) {
	conn, err := pgx.Connect(ctx, l.postgres.URL)
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var backend int
	if err := conn.QueryRow(ctx, `SELECT pg_backend_pid()`).Scan(&backend); err != nil {
		return 0, err
	}
	server := statOf(backend).parent // while the connection keeps the backend alive
	if server == 0 {
		return 0, fmt.Errorf("the backend %d is not to be seen in /proc", backend)
	}
	ticks, err := familyCPU(server)
	return float64(ticks) / ticksPerSecond, err
}

// familyCPU is of a process and its children, alive or not. One that ends meanwhile could be missed or counted twice: then it looks again.
func familyCPU(pid int) (ticks int, err error) {
	for before := statOf(pid).ended; ; {
		ticks, err = livingCPU(pid)
		now := statOf(pid).ended
		if err != nil || now == before {
			return ticks + now, err
		}
		before = now
	}
}

// livingCPU is of a process and its children that were not waited for yet.
func livingCPU(pid int) (ticks int, err error) {
	ticks = statOf(pid).own
	dirs, err := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		child, _ := strconv.Atoi(filepath.Base(dir))
		if s := statOf(child); s.parent == pid {
			ticks += s.own
		}
	}
	return ticks, err
}

func ask(ctx context.Context, url, query string, to ...any) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return conn.QueryRow(ctx, query).Scan(to...)
}

// bytes is the size of all tables and indexes.
func (d database) bytes(ctx context.Context) (n int64, err error) {
	if d.kind == kindPostgres {
		return n, ask(ctx, d.url, `SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relkind IN ('r', 'm') AND relnamespace = 'public'::regnamespace`, &n)
	}
	file, err := sql.Open("sqlite", "file:"+strings.TrimPrefix(d.url, "sqlite:")+"?mode=ro")
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	return n, file.QueryRowContext(ctx, `SELECT p.page_count * s.page_size FROM pragma_page_count p, pragma_page_size s`).Scan(&n)
}

// showStatements prints what cost the server most since it was shown last, if that is asked for.
func (b *bench) showStatements(ctx context.Context, c *cluster) error {
	if !b.statements || c.kind != kindPostgres {
		return nil
	}
	if err := c.database.printStatements(ctx); err != nil {
		return err
	}
	return execute(ctx, c.database.url, "SELECT pg_stat_statements_reset()")
}

// printStatements shows what cost the server most in this database.
func (d database) printStatements(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, d.url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, `SELECT calls, rows, total_exec_time, total_plan_time, wal_bytes::bigint,
		shared_blks_hit + shared_blks_read, shared_blks_read, left(regexp_replace(query, '\s+', ' ', 'g'), 100)
		FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY total_exec_time DESC LIMIT 25`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var calls, n, wal, blocks, read int64
		var run, plan float64
		var query string
		if err := rows.Scan(&calls, &n, &run, &plan, &wal, &blocks, &read, &query); err != nil {
			return err
		}
		fmt.Printf("    %8d calls %9d rows %9.0f ms %7.0f ms planning %10d B of WAL %10d blocks, %7d of them read  %s\n", calls, n, run, plan, wal, blocks, read, query)
	}
	return rows.Err()
}

// printSizes shows what fills the database, for each delivery.
func (d database) printSizes(ctx context.Context, deliveries float64) error {
	conn, err := pgx.Connect(ctx, d.url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, `SELECT relname::text, pg_relation_size(oid)::float8, greatest(reltuples, 0)::float8 FROM pg_class
		WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace ORDER BY 2 DESC LIMIT 25`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var size, n float64
		if err := rows.Scan(&name, &size, &n); err != nil {
			return err
		}
		fmt.Printf("    %8.1f B a delivery in %8.0f rows  %s\n", size/deliveries, n, name)
	}
	return rows.Err()
}
