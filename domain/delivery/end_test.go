package delivery_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// Whatever an attempt was like: what is read of its end is what the whole change says.
func TestAnEndIsReadAsTheWholeChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.MapOfN(rapid.String(), rapid.String(), 0, 2)
		o := delivery.Outcome{
			Kind: delivery.Kind(rapid.OneOf(rapid.SampledFrom(kinds()), rapid.String()).Draw(t, "kind")), StartedAt: drawTime(t), Duration: time.Duration(rapid.Int64().Draw(t, "duration")),
			RequestHeaders: texts.Draw(t, "request"), Status: rapid.Int().Draw(t, "status"), ResponseBody: rapid.SliceOf(rapid.Byte()).Draw(t, "body"), Error: rapid.String().Draw(t, "error"),
		}
		a := delivery.Attempt{Number: rapid.Int().Draw(t, "number"), Outcome: o}
		c := rapid.SampledFrom([]delivery.Change{
			delivery.AttemptSucceeded{At: drawTime(t), Attempt: a}, delivery.AttemptFailed{At: drawTime(t), Attempt: a, NextAt: drawTime(t)},
			delivery.AttemptAbandoned{At: drawTime(t), Number: a.Number, StartedAt: drawTime(t)}, delivery.Parked{At: drawTime(t), Reason: o.Error},
		}).Draw(t, "change")
		sameEnd(t, c)
	})
}

func TestTheEndOfEachChange(t *testing.T) {
	ends := 0
	for name, c := range examples() {
		stored, _, err := delivery.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		if sameEnd(t, c) != slices.Contains(delivery.EndTypes(), stored) {
			t.Errorf("%s is about an attempt, or not, otherwise than its stored name says", name)
		}
		ends++
	}
	if ends < 9 {
		t.Errorf("looked at %d changes", ends)
	}
}

// What a change says of its attempt: how it ended, and when that was known. Nobody knows how long an abandoned one took.
func TestWhatAChangeSaysOfItsAttempt(t *testing.T) {
	known, began := time.UnixMicro(2e6), time.UnixMicro(1e6)
	attempt := delivery.Attempt{Number: 3, Outcome: delivery.Outcome{Kind: delivery.KindTimeout, StartedAt: began, Duration: 7}}
	for _, c := range []struct {
		change delivery.Change
		end    delivery.End
	}{
		{delivery.AttemptSucceeded{At: known, Attempt: attempt}, delivery.End{Kind: delivery.KindTimeout, At: known, Duration: 7}},
		{delivery.AttemptFailed{At: known, Attempt: attempt}, delivery.End{Kind: delivery.KindTimeout, At: known, Duration: 7}},
		{delivery.AttemptAbandoned{At: known, Number: 3, StartedAt: began}, delivery.End{Kind: delivery.KindLeaseExpired, At: known}},
	} {
		if got, ok := delivery.EndOf(c.change); !ok || got != c.end {
			t.Errorf("%T ended as %+v, %v; want %+v", c.change, got, ok, c.end)
		}
		if got, ok := delivery.AttemptOf(c.change); !ok || got.Number != 3 || got.Kind != c.end.Kind || !got.StartedAt.Equal(began) {
			t.Errorf("%T is about %+v, %v", c.change, got, ok)
		}
	}
	if _, ok := delivery.AttemptOf(delivery.Parked{At: known}); ok {
		t.Error("parking is an attempt")
	}
}

// sameEnd holds DecodeEnd against EndOf, and reports whether the change is about an attempt.
func sameEnd(t rapid.TB, c delivery.Change) bool {
	t.Helper()
	name, data, err := delivery.Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := delivery.Decode(name, data)
	if err != nil {
		t.Fatal(err)
	}
	want, about := delivery.EndOf(whole)
	got, ok, err := delivery.DecodeEnd(name, data)
	if err != nil || ok != about || got.Kind != want.Kind || !got.At.Equal(want.At) || got.Duration != want.Duration {
		t.Errorf("read %+v, %v, %v of %s; want %+v, %v", got, ok, err, data, want, about)
	}
	return ok
}

func kinds() (names []string) {
	for _, k := range delivery.Kinds() {
		names = append(names, string(k))
	}
	return names
}

func drawTime(t *rapid.T) time.Time {
	return time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "time")).UTC()
}

// That the rest is not decoded is what it is for.
func TestAnEndIsReadWithoutTheRest(t *testing.T) {
	name, data, err := delivery.Encode(examples()["AttemptFailed"])
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _, _, _ = delivery.DecodeEnd(name, data) }); n > 1 {
		t.Errorf("it allocates %.0f times", n)
	}
}

func TestADamagedEndIsTold(t *testing.T) {
	for _, data := range []string{``, `{`, `{"at":"yesterday","attempt":{"number":1,"outcome":"succeeded","startedAt":"x","durationNs":1}}`} {
		if e, ok, err := delivery.DecodeEnd(delivery.EndTypes()[0], []byte(data)); err == nil || ok {
			t.Errorf("%q is read as %+v", data, e)
		}
	}
}

func BenchmarkDecodeEnd(b *testing.B) {
	name, data, err := delivery.Encode(examples()["AttemptSucceeded"])
	if err != nil {
		b.Fatal(err)
	}
	b.Run("end", func(b *testing.B) {
		for b.Loop() {
			_, _, _ = delivery.DecodeEnd(name, data)
		}
	})
	b.Run("whole", func(b *testing.B) {
		for b.Loop() {
			_, _ = delivery.Decode(name, data)
		}
	})
}
