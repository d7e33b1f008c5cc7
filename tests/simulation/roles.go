package simulation

import (
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/application/subscriptions"
)

// roles is what a process does besides answering users; see ORDINAVO_ROLES.
type roles struct{ router, dispatcher bool }

// rolesOf is the same for all incarnations in a slot. In runs whose processes share the roles, the first two have one each, and the
// third none.
func (w *world) rolesOf(slot int) roles {
	if !w.shared || w.settings.processes < 2 {
		return roles{true, true}
	}
	return []roles{{router: true}, {dispatcher: true}, {}, {true, true}}[slot]
}

// handover is nil when what is fanned out is sent by other processes.
func (r roles) handover(p *process) fanout.Handover {
	if r.dispatcher {
		return handover{p}
	}
	return nil
}

// loops are those of main.go.
func (r roles) loops(p *process, takeover *dispatch.Takeover) []loop.Loop {
	w := p.world
	loops := []loop.Loop{takeover.Heartbeat(), retention.New(p.store, w.ages, p.now).Loop(), p.intake.Loop(), p.hub.Loop(), {Name: "idempotency", Step: p.answers.PurgeStep}}
	if w.bounds.Open > 0 {
		loops = append(loops, p.backlog.Loop())
	}
	if r.dispatcher {
		loops = append(loops, p.dispatcher.Loop(), p.sweeper.Loop(), p.worker.Loop(), subscriptions.NewNotices(p.store, p.noticing).Loop(), takeover.Loop())
	}
	if r.router {
		loops = append(loops, p.fanOut.Turns().Loop(), metrics.NewProjection(p.store, p.now).Loop())
	}
	return loops
}
