package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"
)

const (
	// maxDialled bounds how many addresses of one name are tried; all of its addresses are vetted.
	maxDialled = 6
	// dialStagger is how long an address has before the next one is tried in parallel (RFC 8305, section 5), so that a
	// receiver with a dead IPv6 address is reached all the same.
	dialStagger = 250 * time.Millisecond
)

// spread picks the addresses to try: the resolver's order, with the first of the other family moved up to second.
func spread(targets []netip.AddrPort) []netip.AddrPort {
	first := targets[0].Addr().Is4()
	other := slices.IndexFunc(targets, func(t netip.AddrPort) bool { return t.Addr().Is4() != first })
	if other > 1 {
		moved := targets[other]
		targets = slices.Insert(slices.Delete(targets, other, other+1), 1, moved)
	}
	return targets[:min(len(targets), maxDialled)]
}

type dialFunc func(context.Context, netip.AddrPort) (net.Conn, error)

type dialled struct {
	conn net.Conn
	err  error
}

// race connects to the targets, each a stagger after the one before it or as soon as that one has failed. The first
// connection wins; the others are ended before race returns. If all fail, the error joins theirs.
func race(ctx context.Context, targets []netip.AddrPort, dial dialFunc) (net.Conn, error) {
	if len(targets) == 1 {
		return dial(ctx, targets[0])
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results, running := make(chan dialled), 0
	next := time.NewTimer(0)
	defer next.Stop()
	var failures error
	for running > 0 || len(targets) > 0 {
		select {
		case <-next.C:
			if len(targets) == 0 {
				continue
			}
			go func(target netip.AddrPort) {
				conn, err := dial(ctx, target)
				results <- dialled{conn, err}
			}(targets[0])
			targets, running = targets[1:], running+1
			next.Reset(dialStagger)
		case result := <-results:
			running--
			if result.err == nil {
				cancel()
				discard(results, running)
				return result.conn, nil
			}
			failures = errors.Join(failures, result.err)
			next.Reset(0)
		}
	}
	return nil, failures
}

// discard waits for the dials that lost and closes what they opened.
func discard(results <-chan dialled, running int) {
	for range running {
		if result := <-results; result.err == nil {
			_ = result.conn.Close() // never used
		}
	}
}
