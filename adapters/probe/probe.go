// Package probe runs a check of a contract suite without failing a test, so that a suite can show that it finds a planted bug.
package probe

import (
	"fmt"
	"runtime"

	"pgregory.net/rapid"
)

// T is what a check reports to: a *testing.T, a *rapid.T, or the one that Findings makes.
type T = rapid.TB

// Findings runs a check and returns what it found wrong.
func Findings(name string, check func(T)) []string {
	r := &recorder{name: name}
	done := make(chan struct{})
	go func() { // FailNow ends the goroutine that a check runs in
		defer close(done)
		check(r)
	}()
	<-done
	return r.failures
}

// recorder is a T that keeps what is reported to it, for one goroutine.
type recorder struct {
	name     string
	failures []string
}

func (r *recorder) Helper()                           {}
func (r *recorder) Name() string                      { return r.name }
func (r *recorder) Log(...any)                        {}
func (r *recorder) Logf(string, ...any)               {}
func (r *recorder) Skip(...any)                       { r.SkipNow() }
func (r *recorder) Skipf(string, ...any)              { r.SkipNow() }
func (r *recorder) SkipNow()                          { runtime.Goexit() }
func (r *recorder) Error(args ...any)                 { r.failures = append(r.failures, fmt.Sprint(args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.Error(fmt.Sprintf(format, args...)) }
func (r *recorder) Fatal(args ...any)                 { r.Error(args...); runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) { r.Fatal(fmt.Sprintf(format, args...)) }
func (r *recorder) Fail()                             { r.Error("failed") }
func (r *recorder) FailNow()                          { r.Fatal("failed") }
func (r *recorder) Failed() bool                      { return len(r.failures) > 0 }
