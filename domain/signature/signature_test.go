package signature_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/signature"
)

var signedAt = time.Unix(1614265330, 0)

func parse(t testing.TB, text string) secret.Secret {
	t.Helper()
	s, err := secret.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The vector that the Standard Webhooks libraries test themselves with.
func TestSignStandardWebhooksVector(t *testing.T) {
	s := parse(t, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	got := signature.Sign([]byte(`{"test": 2432232314}`), signedAt, "msg_p5jXN8AQM9LWM0D4loKWxJek", s, s)
	want := signature.Signatures{
		// printf '{"test": 2432232314}' | openssl dgst -sha256 -hmac whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
		Body:      "sha256=80ec8a89ce3cd22133a1066caecb4d04fea7467657c8514d717ec42c38a5c94c",
		ID:        "msg_p5jXN8AQM9LWM0D4loKWxJek",
		Timestamp: "1614265330",
		Standard:  "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestSignDuringRotation(t *testing.T) {
	older, newer := numbered(1), numbered(2)
	body := []byte(`{}`)
	got := signature.Sign(body, signedAt, "evt_1", older, newer, older)

	if entries := strings.Fields(got.Standard); len(entries) != 2 || strings.Join(entries, " ") != got.Standard {
		t.Fatalf("webhook-signature is %q, want two signatures separated by one space", got.Standard)
	}
	for name, s := range map[string]secret.Secret{"older": older, "newer": newer} {
		if err := signature.VerifyStandard("evt_1", got.Timestamp, got.Standard, body, signedAt, 0, s); err != nil {
			t.Errorf("a receiver with the %s secret: %v", name, err)
		}
	}
	if err := signature.VerifyBody(got.Body, body, older); err != nil {
		t.Errorf("the body's signature with the older secret: %v", err)
	}
	if err := signature.VerifyBody(got.Body, body, newer); !errors.Is(err, signature.ErrMismatch) {
		t.Errorf("the body's signature with the newer secret: %v, want a mismatch", err)
	}
}

func TestVerifyBodyRefuses(t *testing.T) {
	body, s := []byte(`{"a":1}`), numbered(1)
	good := signature.Sign(body, signedAt, "evt_1", s).Body
	digits := strings.TrimPrefix(good, "sha256=")
	for name, c := range map[string]struct {
		header string
		secret secret.Secret
		want   error
	}{
		"nothing":          {"", s, signature.ErrMissing},
		"no prefix":        {digits, s, signature.ErrForm},
		"other prefix":     {"sha1=" + digits, s, signature.ErrForm},
		"upper case":       {"sha256=" + strings.ToUpper(digits), s, signature.ErrForm},
		"not hex":          {"sha256=" + strings.Repeat("x", 64), s, signature.ErrForm},
		"space at the end": {good + " ", s, signature.ErrForm},
		"cut off":          {good[:len(good)-2], s, signature.ErrMismatch},
		"prefix alone":     {"sha256=", s, signature.ErrMismatch},
		"other secret":     {good, numbered(2), signature.ErrMismatch},
		"no secret":        {good, secret.Secret{}, signature.ErrNoSecret},
	} {
		t.Run(name, func(t *testing.T) {
			if err := signature.VerifyBody(c.header, body, c.secret); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestVerifyStandardAnswers(t *testing.T) {
	body, s := []byte(`{"a":1}`), numbered(1)
	good := signature.Sign(body, signedAt, "evt_1", s, s)
	other := signature.Sign(body, signedAt, "evt_1", s, numbered(2)).Standard
	type request struct {
		id, timestamp, header string
		now                   time.Time
		secrets               []secret.Secret
	}
	for name, c := range map[string]struct {
		change func(*request)
		want   error
	}{
		"as signed":             {func(*request) {}, nil},
		"at the oldest":         {func(r *request) { r.now = signedAt.Add(5 * time.Minute) }, nil},
		"at the newest":         {func(r *request) { r.now = signedAt.Add(-5 * time.Minute) }, nil},
		"too old":               {func(r *request) { r.now = signedAt.Add(5*time.Minute + 1) }, signature.ErrTimestampTooOld},
		"too new":               {func(r *request) { r.now = signedAt.Add(-5*time.Minute - 1) }, signature.ErrTimestampTooNew},
		"second of two":         {func(r *request) { r.header = other + " " + r.header }, nil},
		"second of two secrets": {func(r *request) { r.secrets = []secret.Secret{numbered(3), {}, s} }, nil},
		"after other versions":  {func(r *request) { r.header = "v1a,not-base64 " + r.header }, nil},
		"other versions alone":  {func(r *request) { r.header = "v1a,AAAA v2,AAAA" }, signature.ErrUnsupportedVersion},
		"no id":                 {func(r *request) { r.id = "" }, signature.ErrMissing},
		"no timestamp":          {func(r *request) { r.timestamp = "" }, signature.ErrMissing},
		"no signature":          {func(r *request) { r.header = "" }, signature.ErrMissing},
		"no comma":              {func(r *request) { r.header = "v1" }, signature.ErrForm},
		"not base64":            {func(r *request) { r.header = "v1,%%%" }, signature.ErrForm},
		"line break in base64":  {func(r *request) { r.header = r.header[:10] + "\n" + r.header[10:] }, signature.ErrForm},
		"endless":               {func(r *request) { r.header = strings.Repeat(r.header+" ", 100) + r.header }, signature.ErrForm},
		"RFC 3339 timestamp":    {func(r *request) { r.timestamp = "2021-02-25T15:02:10Z" }, signature.ErrTimestampForm},
		"timestamp with sign":   {func(r *request) { r.timestamp = "+" + r.timestamp }, signature.ErrTimestampForm},
		"huge timestamp":        {func(r *request) { r.timestamp = strings.Repeat("9", 40) }, signature.ErrTimestampForm},
		"later timestamp":       {func(r *request) { r.timestamp = "1614265331" }, signature.ErrMismatch},
		"other id":              {func(r *request) { r.id = "evt_2" }, signature.ErrMismatch},
		"other secret":          {func(r *request) { r.secrets = []secret.Secret{numbered(2)} }, signature.ErrMismatch},
		"wrong secret, old":     {func(r *request) { r.secrets[0], r.now = numbered(2), signedAt.Add(time.Hour) }, signature.ErrMismatch},
		"no secret":             {func(r *request) { r.secrets = nil }, signature.ErrNoSecret},
		"zero secret":           {func(r *request) { r.secrets = []secret.Secret{{}} }, signature.ErrNoSecret},
	} {
		t.Run(name, func(t *testing.T) {
			r := request{good.ID, good.Timestamp, good.Standard, signedAt, []secret.Secret{s}}
			c.change(&r)
			err := signature.VerifyStandard(r.id, r.timestamp, r.header, body, r.now, signature.DefaultTolerance, r.secrets...)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestFlippedBitFails(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(t, "body")
		s := secret.FromBytes([secret.Size]byte(rapid.SliceOfN(rapid.Byte(), secret.Size, secret.Size).Draw(t, "secret")))
		id := rapid.StringMatching(`evt_[0-9A-Z]{26}`).Draw(t, "id")
		at := time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "at"), 0)
		got := signature.Sign(body, at, id, s, s)
		verify := func() (error, error) {
			return signature.VerifyBody(got.Body, body, s),
				signature.VerifyStandard(got.ID, got.Timestamp, got.Standard, body, at, 0, s)
		}

		if ofBody, standard := verify(); ofBody != nil || standard != nil {
			t.Fatalf("as signed: %v, %v", ofBody, standard)
		}
		body[rapid.IntRange(0, len(body)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if ofBody, standard := verify(); ofBody == nil || standard == nil {
			t.Fatalf("with a flipped bit: %v, %v", ofBody, standard)
		}
	})
}

func FuzzVerifyBody(f *testing.F) {
	body, s := []byte(`{"a":1}`), numbered(1)
	good := signature.Sign(body, signedAt, "evt_1", s).Body
	f.Add(good)
	f.Add("sha256=")
	f.Fuzz(func(t *testing.T, header string) {
		if err := signature.VerifyBody(header, body, s); (err == nil) != (header == good) {
			t.Errorf("%q: %v", header, err)
		}
	})
}

func FuzzVerifyStandard(f *testing.F) {
	body, s := []byte(`{"a":1}`), numbered(1)
	good := signature.Sign(body, signedAt, "evt_1", s, s)
	f.Add(good.ID, good.Timestamp, good.Standard)
	f.Add(good.ID, good.Timestamp, "v1a,x "+good.Standard)
	f.Fuzz(func(t *testing.T, id, timestamp, header string) {
		accepted := signature.VerifyStandard(id, timestamp, header, body, signedAt, time.Minute, s) == nil
		genuine := id == good.ID && timestamp == good.Timestamp && strings.Contains(" "+header+" ", " "+good.Standard+" ")
		if accepted && !genuine {
			t.Errorf("accepted %q %q %q", id, timestamp, header)
		}
	})
}

func BenchmarkSign(b *testing.B) {
	body, s := make([]byte, 1200), numbered(1)
	for b.Loop() {
		signature.Sign(body, signedAt, "evt_01JZ8A2MT8G7C3Y7V0WQ1M9B3C", s, s)
	}
}

func numbered(n byte) secret.Secret { return secret.FromBytes([secret.Size]byte{n}) }
