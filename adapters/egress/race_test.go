package egress

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestSpread(t *testing.T) {
	parse := func(texts ...string) (list []netip.AddrPort) {
		for _, text := range texts {
			list = append(list, netip.AddrPortFrom(netip.MustParseAddr(text), 443))
		}
		return list
	}
	for _, test := range []struct{ in, want []netip.AddrPort }{
		{parse("8.8.8.8"), parse("8.8.8.8")},
		{parse("2606::1", "2606::2", "8.8.8.8"), parse("2606::1", "8.8.8.8", "2606::2")},
		{parse("8.8.8.8", "2606::1", "8.8.4.4"), parse("8.8.8.8", "2606::1", "8.8.4.4")},
		{parse("1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.5", "1.0.0.6", "2606::1"),
			parse("1.0.0.1", "2606::1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.5")},
	} {
		if got := spread(slices.Clone(test.in)); !slices.Equal(got, test.want) {
			t.Errorf("%v became %v, want %v", test.in, got, test.want)
		}
	}
}

// pipe is a connection that knows whether it was closed.
type pipe struct {
	net.Conn
	closed bool
}

func (p *pipe) Close() error { p.closed = true; return nil }

func TestRace(t *testing.T) {
	targets := []netip.AddrPort{
		netip.MustParseAddrPort("8.8.8.1:443"), netip.MustParseAddrPort("8.8.8.2:443"), netip.MustParseAddrPort("8.8.8.3:443"),
	}
	dead, fails, works := 1, 2, 3
	for name, test := range map[string]struct {
		hosts  []int
		winner int
		after  time.Duration
	}{
		"first works":              {[]int{works, works, works}, 0, 0},
		"first fails":              {[]int{fails, works, works}, 1, 0},
		"first is dead":            {[]int{dead, works, works}, 1, dialStagger},
		"two are dead":             {[]int{dead, dead, works}, 2, 2 * dialStagger},
		"dead, then failing":       {[]int{dead, fails, works}, 2, dialStagger},
		"all fail":                 {[]int{fails, fails, fails}, -1, 0},
		"all are dead, or failing": {[]int{dead, fails, dead}, -1, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var mu sync.Mutex
				conns := map[int]*pipe{}
				start := time.Now()
				got, err := race(ctx, targets, func(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
					i := slices.Index(targets, target)
					switch test.hosts[i] {
					case dead:
						<-ctx.Done()
						return nil, ctx.Err()
					case fails:
						return nil, errors.New("refused")
					}
					mu.Lock()
					defer mu.Unlock()
					conns[i] = &pipe{}
					return conns[i], nil
				})
				if (err == nil) != (test.winner >= 0) || time.Since(start) != test.after {
					t.Fatalf("got %v after %v, want %v", err, time.Since(start), test.after)
				}
				for i, conn := range conns {
					if conn.closed != (i != test.winner) || (i == test.winner) != (got == net.Conn(conn)) {
						t.Errorf("connection %d of winner %d: closed %v", i, test.winner, conn.closed)
					}
				}
			})
		})
	}
}

func TestRaceClosesTheLosers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		targets := []netip.AddrPort{netip.MustParseAddrPort("8.8.8.1:443"), netip.MustParseAddrPort("8.8.8.2:443")}
		late := &pipe{}
		got, err := race(t.Context(), targets, func(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
			if target == targets[0] { // connects just as the race is decided
				<-ctx.Done()
				return late, nil
			}
			return &pipe{}, nil
		})
		if err != nil || got == net.Conn(late) || !late.closed {
			t.Errorf("got %v, %v; the loser is closed: %v", got, err, late.closed)
		}
	})
}
