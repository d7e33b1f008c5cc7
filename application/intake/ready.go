package intake

import (
	"time"

	"github.com/ordinavo/webhooks/domain/problem"
)

// troubleFor is how long a failed commit counts for those to come. It ends by itself, since a process that is not ready may be
// sent nothing that would show that the trouble is over.
const troubleFor = 5 * time.Second

// trouble is why the last commit failed.
type trouble struct {
	err error
	at  time.Time
}

// Ready says why events cannot be accepted now, going by the last commit; nil when they can.
func (in *Intake) Ready() error {
	if last := in.trouble.Load(); last != nil && isAhead(last.at.Add(troubleFor), in.now()) {
		return last.err
	}
	return nil
}

func (in *Intake) remember(failed error) {
	if problem.Is(failed, problem.Unavailable) {
		in.trouble.Store(&trouble{failed, in.now()})
		return
	}
	in.trouble.Store(nil)
}
