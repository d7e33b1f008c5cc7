// Package pgtest gives tests a PostgreSQL of their own: one server for a test binary, one database
// for a test. The server is gone with the test binary, however that ends.
package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// EnvURL names the variable with the URL of a server to use instead. Its user must be allowed to create databases.
const EnvURL = "ORDINAVO_TEST_DATABASE_URL"

// adminTimeout bounds each statement that makes or drops a database.
const adminTimeout = time.Minute

// settings of the shared server.
var settings []string

// Configure gives the test binary's server settings, like "fsync=off" where nothing is said about power cuts. It is
// for TestMain, before the first test.
func Configure(with ...string) { settings = with }

// shared is the server of this test binary.
var shared = sync.OnceValues(func() (string, error) {
	if given := os.Getenv(EnvURL); given != "" {
		return given, nil
	}
	server, err := Start(settings...)
	if err != nil {
		return "", err
	}
	return server.URL, nil
})

// ErrMissing says that this machine has no PostgreSQL.
var ErrMissing = errors.New("there is no PostgreSQL")

// EnvWithout names the variable by which somebody says that the machine has no PostgreSQL, and that the tests that need
// one are to be left out. Without it they fail there: nothing is left out unasked.
const EnvWithout = "ORDINAVO_TEST_WITHOUT_POSTGRES"

// Check fails the test on an error of Start, or leaves it out where there is no PostgreSQL and somebody has said so.
func Check(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, ErrMissing) && os.Getenv(EnvWithout) != "" {
		t.Skip("left out: " + err.Error())
	}
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
}

// URL is that of the server's administrative database. It fails the test when there is no PostgreSQL; see Check.
func URL(t testing.TB) string {
	t.Helper()
	admin, err := shared()
	Check(t, err)
	return admin
}

// Empty makes an empty database for the test and returns its URL.
func Empty(t testing.TB) string {
	t.Helper()
	return create(t, URL(t), "template0")
}

// Template is a database that is prepared once and copied for each test. The zero value with
// Prepare set is ready for use.
type Template struct {
	// Prepare fills an empty database; it must close its connections.
	Prepare func(url string) error

	once sync.Once
	name string
	by   string // how it is copied
	err  error
}

// Copy makes a copy of the template for the test and returns its URL.
func (m *Template) Copy(t testing.TB) string {
	t.Helper()
	m.prepare(t)
	return create(t, URL(t), m.name+m.by)
}

// howToCopy: a server that need not survive a power cut copies files in half the time that it takes to log them, as it does by default
// since version 15.
const howToCopy = `SELECT CASE WHEN current_setting('server_version_num')::int >= 150000 AND current_setting('fsync') = 'off' THEN ' STRATEGY file_copy' ELSE '' END`

func (m *Template) prepare(t testing.TB) {
	t.Helper()
	admin := URL(t)
	m.once.Do(func() {
		m.name = randomName("template")
		if m.err = execute(admin, "CREATE DATABASE "+m.name+" TEMPLATE template0"); m.err == nil {
			m.err = m.Prepare(within(admin, m.name))
		}
		if m.err == nil {
			m.by, m.err = ask(admin, howToCopy)
		}
	})
	if m.err != nil {
		t.Fatalf("prepare a template database: %v", m.err)
	}
}

// administrators are connections that stay: to begin and end one takes as long as to make a database.
var administrators = sync.OnceValues(func() (*pgxpool.Pool, error) {
	admin, err := shared()
	if err != nil {
		return nil, err
	}
	return pgxpool.New(context.Background(), admin)
})

func administer(statement string) error {
	pool, err := administrators()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	_, err = pool.Exec(ctx, statement)
	return err
}

func create(t testing.TB, admin, template string) string {
	t.Helper()
	name := randomName("test")
	if err := administer("CREATE DATABASE " + name + " TEMPLATE " + template); err != nil {
		t.Fatalf("make a database: %v", err)
	}
	t.Cleanup(func() {
		if err := administer("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			report := t.Logf // a server of ours takes it along, and dropping waits for a checkpoint of all databases
			if os.Getenv(EnvURL) != "" {
				report = t.Errorf
			}
			report("drop the test's database: %v", err)
		}
	})
	return within(admin, name)
}

func randomName(prefix string) string {
	var random [8]byte
	_, _ = rand.Read(random[:])
	return "ordinavo_" + prefix + "_" + hex.EncodeToString(random[:])
}

// within is the URL of another database of the server.
func within(admin, database string) string {
	u, err := url.Parse(admin)
	if err != nil {
		return admin // it was connected to, so this cannot be
	}
	u.Path = "/" + database
	return u.String()
}

func execute(admin, statement string) error {
	return connected(admin, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, statement)
		if err != nil {
			err = fmt.Errorf("%s: %w", strings.Join(strings.Fields(statement)[:2], " "), err)
		}
		return err
	})
}

func ask(admin, query string) (answer string, err error) {
	err = connected(admin, func(ctx context.Context, conn *pgx.Conn) error { return conn.QueryRow(ctx, query).Scan(&answer) })
	return answer, err
}

func connected(admin string, do func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return fmt.Errorf("connect to the server: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	return do(ctx, conn)
}

// Shared is the template itself, for tests that only read; it lives as long as the server.
func (m *Template) Shared(t testing.TB) string {
	t.Helper()
	m.prepare(t)
	return within(URL(t), m.name)
}
