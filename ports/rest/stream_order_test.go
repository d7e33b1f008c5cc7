package rest

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// A client hears of each change once, whatever comes again after it came back; a beat moves its id on, and never back.
func TestAStreamTellsEachChangeOnce(t *testing.T) {
	conn, far := net.Pipe()
	defer func() { _, _ = conn.Close(), far.Close() }()
	var told bytes.Buffer
	s := &stream{conn: conn, out: bufio.NewWriter(&told), last: 5}
	change := func(position int64, id string) live.Change {
		return live.Change{Mark: live.Mark{Position: position, At: time.Unix(0, 0)}, Delivery: delivery.Delivery{ID: id}}
	}
	for _, c := range []struct {
		change live.Change
		tells  bool
		last   int64
	}{
		{change(4, "dlv_4"), false, 5},
		{change(5, "dlv_5"), false, 5},
		{change(5, ""), true, 5}, // a beat, which keeps the id fresh
		{change(7, "dlv_7"), true, 7},
		{change(7, "dlv_7"), false, 7},
		{change(6, ""), false, 7},
		{change(9, ""), true, 9},
		{change(8, "dlv_8"), false, 9},
	} {
		told.Reset()
		if err := s.tell(c.change); err != nil {
			t.Fatal(err)
		}
		if (told.Len() > 0) != c.tells || s.last != c.last || c.tells && !strings.HasPrefix(told.String(), "id: "+eventID(live.Mark{Position: c.last, At: time.Unix(0, 0)})+"\n") {
			t.Errorf("%s at %d: told %q, and the client has %d", c.change.ID, c.change.Position, told.String(), s.last)
		}
	}
}

// A client that vanished without a word takes nothing any more, and its stream ends.
func TestAStreamEndsWhenNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, far := net.Pipe()
		defer func() { _, _ = conn.Close(), far.Close() }()
		s := &stream{conn: conn, out: bufio.NewWriter(conn)}
		if err := s.tell(live.Change{Mark: live.Mark{Position: 1}}); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the write ended with %v", err)
		}
	})
}
