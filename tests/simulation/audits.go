package simulation

import (
	"context"
	"reflect"
	"time"

	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/domain/job"
)

// audit asks for dry runs beside jobs and all else; that they change nothing is seen to by mayWrite. Once nothing fails any more and nothing is
// left to do, it holds what they say to what the same requests then do.
func (w *world) audit(a *activity) {
	for !w.quiet {
		a.sleep(w.now.Add(time.Duration(w.asking.Int64N(int64(15*time.Second)))), nil)
		if p := w.anyProcess(w.asking); p != nil && !w.quiet {
			w.dryRun(a, p, w.bulk(w.asking, w.asking.IntN(3) == 0))
		}
	}
	for range 1 + w.asking.IntN(3) {
		w.auditOne(a)
	}
	w.busy--
}

// restsBut reports whether nothing is left to do but for the auditor, and for who knocks when it is done.
func (w *world) restsBut() bool {
	left := 1
	if w.bounds.Open > 0 {
		left++
	}
	return w.isDone() && len(w.store.SetAside()) == 0 && w.busy <= left && w.anyProcess(w.asking) != nil
}

func (w *world) dryRun(a *activity, p *process, r jobs.Request) (job.Job, error) {
	w.auditor = a
	j, err := p.jobs.DryRun(context.Background(), r)
	w.auditor = nil
	w.trace.line("auditor: dry run of %s %s by %s: %+v, %v", r.Kind, r.Mode, p.name, j.Tally, err)
	return j, err
}

// mayWrite holds a dry run to changing nothing.
func (w *world) mayWrite(name string) {
	if w.auditor != nil && w.auditor == w.current {
		w.violate("dry run", "a dry run calls %s", name)
	}
}

// auditOne compares a dry run, while nothing is left to do, with the job that is asked for right after it.
func (w *world) auditOne(a *activity) {
	for !w.restsBut() {
		a.sleep(w.now.Add(time.Second), nil)
	}
	request := w.bulk(w.asking, w.asking.IntN(3) == 0)
	if w.clocks && request.Mode == job.Rerender {
		request.Mode = job.Original // the other may wait for an hour until a clock has passed the newest delivery
	}
	p, before := w.anyProcess(w.asking), w.extent()
	if p == nil {
		return
	}
	said, refused := w.dryRun(a, p, request)
	did, err := p.jobs.Begin(context.Background(), request)
	if before != w.extent() { // a process has told of itself meanwhile
		return
	}
	if refused != nil || err != nil {
		if refused == nil || err == nil {
			w.violate("dry run", "of %+v: %v; and as a job: %v", request, refused, err)
		}
		return
	}
	for w.goesOn(did) {
		a.sleep(w.now.Add(200*time.Millisecond), nil)
		did, err = w.store.Job(context.Background(), did.Tenant, did.ID)
		must(err)
	}
	if did.Open() { // for want of room
		return
	}
	w.counts.Audited += did.Found()
	if said.Status != did.Status || !reflect.DeepEqual(said.Tally, did.Tally) {
		w.violate("dry run", "said of %s %s: %s %+v, and it did: %s %+v", did.Kind, did.ID, said.Status, said.Tally, did.Status, did.Tally)
	}
}

// extent changes with whatever a job looks at.
func (w *world) extent() (n [4]int64) {
	for _, row := range w.store.Rows() {
		n[0]++
		n[1] += row.Version
	}
	for _, s := range w.store.States() {
		n[2] += s.Version
	}
	n[3] = int64(len(w.store.Accepted()))
	return n
}
