package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// lab is what every measurement of a run shares.
type lab struct {
	dir, binary string
	postgres    *pgtest.Server // nil when there is none, or only SQLite is measured
	statements  bool
	databases   int
}

func newLab(ctx context.Context, o options) (l *lab, err error) {
	l = &lab{statements: o.statements}
	if l.dir, err = os.MkdirTemp("", "ordinavo-bench-"); err != nil {
		return nil, err
	}
	l.binary = filepath.Join(l.dir, "ordinavo-webhooks")
	build := []string{"build", "-o", l.binary}
	if o.pprof != "" {
		build = append(build, "-tags", "pprof")
	}
	if text, err := exec.CommandContext(ctx, "go", append(build, ".")...).CombinedOutput(); err != nil {
		l.close()
		return nil, fmt.Errorf("build: %w: %s", err, text)
	}
	if l.postgres, err = startPostgres(o); err != nil {
		l.close()
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	return l, nil
}

func (l *lab) close() {
	if l.postgres != nil {
		_ = l.postgres.Stop()
	}
	_ = os.RemoveAll(l.dir)
}

// database is one that a measurement has for itself.
type database struct {
	url, kind string
	dir       string // of SQLite's file
	drop      func()
}

// fresh makes an empty database; drop it.
func (l *lab) fresh(ctx context.Context, kind string) (d database, err error) {
	l.databases++
	name := fmt.Sprintf("bench_%d", l.databases)
	if kind == kindSQLite {
		dir := filepath.Join(l.dir, name)
		return database{"sqlite:" + filepath.Join(dir, "o.db"), kind, dir, func() { _ = os.RemoveAll(dir) }}, nil
	}
	if err := l.admin(ctx, "CREATE DATABASE "+name, "CHECKPOINT"); err != nil {
		return d, fmt.Errorf("make a database: %w", err)
	}
	if l.statements {
		if err := execute(ctx, l.within(name), "CREATE EXTENSION pg_stat_statements"); err != nil {
			return d, err
		}
	}
	return database{l.within(name), kind, "", func() {
		_ = l.admin(context.WithoutCancel(ctx), "DROP DATABASE "+name+" WITH (FORCE)")
	}}, nil
}

// within is the URL of a database of the server.
func (l *lab) within(name string) string {
	u, err := url.Parse(l.postgres.URL)
	if err != nil {
		panic(err) // it was connected to
	}
	u.Path = "/" + name
	return u.String()
}

func (l *lab) admin(ctx context.Context, statements ...string) error {
	return execute(ctx, l.postgres.URL, statements...)
}

func execute(ctx context.Context, url string, statements ...string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(strings.Fields(statement)[:2], " "), err)
		}
	}
	return nil
}
