package storetest

import (
	"fmt"
	"runtime"
)

// recorder is a T that keeps what it is told, for one goroutine.
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
