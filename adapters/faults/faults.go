// Package faults breaks the service on purpose, for tests/faults. It does nothing unless the service is built with
// the tag faults; then the environment says what is to happen:
//
//   - FAULTS_KILL=hop:n,…  the process kills itself, as by kill -9, when it passes the hop for the n-th time.
//   - FAULTS_STOP=path     the first process to pass the hop that the file of that path names removes the file and stands still, as by SIGSTOP,
//     with what it has written at a server and its transaction open: at FanOutHalf and RecordBeforeCommit alone. The transaction then fails.
//   - FAULTS_DISK=path     SQLite's file operations fail as ordered at the unix socket of that path.
//   - FAULTS_AT_ONCE=n     fan-out schedules no more than n deliveries at once, so that events wait for their tenant's turn.
//   - FAULTS_CLOCK=1h      the machine's clock is that much ahead, or behind.
//   - SIGUSR1, SIGUSR2     the machine's clock goes an hour forward, or back.
//   - An event with a traceparent whose trace ID is Poison makes the handler that fans it out panic, while the file that
//     FAULTS_POISON names is there.
package faults

// The hops of an event's way at which a process can be killed, or stopped.
const (
	AcceptBeforeCommit = "accept.before_commit" // the events are written
	AcceptAfterCommit  = "accept.after_commit"  // they are durable, but the sender has no answer
	FanOutHalf         = "fanout.half"          // half of the deliveries are written
	FanOutBeforeCommit = "fanout.before_commit" // all are written
	FanOutAfterCommit  = "fanout.after_commit"  // they are durable, but not handed over
	DeferAfterCommit   = "defer.after_commit"   // events are left for their tenant's turn, which has not come
	TurnBeforeCommit   = "turn.before_commit"   // what a turn schedules is written
	LeaseAfterCommit   = "lease.after_commit"   // deliveries are leased, but nothing was sent
	SendAfterBytes     = "send.after_bytes"     // the request has left, but the answer was not read
	SendAfterAnswer    = "send.after_answer"    // the answer was read, but not recorded
	RecordBeforeCommit = "record.before_commit" // the outcome is written
	RecordAfterCommit  = "record.after_commit"  // it is durable, but the process does not know
)

// Hops lists all of them, in an event's order.
func Hops() []string {
	return []string{AcceptBeforeCommit, AcceptAfterCommit, FanOutHalf, FanOutBeforeCommit, FanOutAfterCommit,
		DeferAfterCommit, TurnBeforeCommit, LeaseAfterCommit, SendAfterBytes, SendAfterAnswer, RecordBeforeCommit, RecordAfterCommit}
}

// Poison is the trace ID of events whose fan-out panics.
const Poison = "0000000000000000000000000badbeef"
