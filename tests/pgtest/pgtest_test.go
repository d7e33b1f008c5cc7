package pgtest_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// envDie makes this binary start a server, say where, and wait to be killed.
const envDie = "ORDINAVO_PGTEST_WAITS_TO_DIE"

func TestMain(m *testing.M) {
	if os.Getenv(envDie) != "" {
		server, err := pgtest.Start()
		if err != nil {
			os.Exit(3)
		}
		_, _ = os.Stdout.WriteString(server.URL + "\n")
		select {}
	}
	os.Exit(m.Run())
}

func TestTheServerIsGoneWithAKilledProcess(t *testing.T) {
	pgtest.URL(t) // there is a PostgreSQL at all
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), envDie+"=1", pgtest.EnvURL+"=")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSpace(line)
	if !answers(url) {
		t.Fatal("the server does not answer while its process lives")
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	for end := time.Now().Add(20 * time.Second); answers(url); {
		if time.Now().After(end) {
			t.Fatal("the server outlives its process")
		}
	}
}

func answers(url string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return false
	}
	_ = conn.Close(ctx)
	return true
}

func TestCopiesOfATemplate(t *testing.T) {
	prepared := 0
	template := pgtest.Template{Prepare: func(url string) error {
		prepared++
		conn, err := pgx.Connect(context.Background(), url)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(context.Background()) }()
		_, err = conn.Exec(context.Background(), "CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
		return err
	}}
	for range 2 {
		conn, err := pgx.Connect(t.Context(), template.Copy(t))
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if err := conn.QueryRow(t.Context(), "SELECT sum(n) FROM t").Scan(&n); err != nil || n != 1 {
			t.Errorf("a copy has %d, %v; want 1", n, err)
		}
		if _, err := conn.Exec(t.Context(), "INSERT INTO t VALUES (2)"); err != nil {
			t.Error(err)
		}
		_ = conn.Close(t.Context())
	}
	if prepared != 1 {
		t.Errorf("the template was prepared %d times", prepared)
	}
}

func TestFsyncIsOnUnlessATestSaysOtherwise(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), pgtest.Empty(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	for _, name := range []string{"fsync", "synchronous_commit"} {
		var value string
		if err := conn.QueryRow(t.Context(), "SELECT current_setting($1)", name).Scan(&value); err != nil || value != "on" {
			t.Errorf("%s is %q, %v; want on", name, value, err)
		}
	}
}
