package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/domain/secret"
)

func TestNoWayOfPrintingShowsASecret(t *testing.T) {
	s := secret.FromBytes([secret.Size]byte([]byte("0123456789abcdefghijklmnopqrstuv")))
	type hidden struct{ inner secret.Secret }
	type shown struct{ Inner secret.Secret }
	values := map[string]any{
		"value": s, "pointer": &s, "exported field": shown{s}, "unexported field": hidden{s}, "slice": []secret.Secret{s},
		"map": map[string]secret.Secret{"k": s}, "unexported field behind a pointer": &hidden{s},
	}
	for name, value := range values {
		var printed bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10.3s"} {
			fmt.Fprintf(&printed, verb+"\n", value)
		}
		slog.New(slog.NewTextHandler(&printed, nil)).Info("text", "secret", value)
		slog.New(slog.NewJSONHandler(&printed, nil)).Info("json", "secret", value)
		if err := json.NewEncoder(&printed).Encode(value); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&printed, fmt.Errorf("wrapped %v", value))
		for _, leak := range leaks(s) {
			if strings.Contains(printed.String(), leak) {
				t.Errorf("%s prints %q:\n%s", name, leak, printed.String())
			}
		}
	}
}

// leaks is the forms in which a secret could show.
func leaks(s secret.Secret) []string {
	encoded := strings.TrimPrefix(s.Reveal(), secret.Prefix)
	return []string{
		encoded[:8], string(s.Key()[:8]), fmt.Sprintf("%x", s.Key()[:8]), fmt.Sprintf("%x", encoded[:8]),
		strings.Trim(fmt.Sprintf("%d", s.Key()[:4]), "[]"), strings.ToUpper(fmt.Sprintf("%x", s.Key()[:8])),
		base64.RawURLEncoding.EncodeToString(s.Key())[:8],
	}
}

func TestPrintedAsStars(t *testing.T) {
	s := secret.FromBytes([secret.Size]byte{1})
	encoded, err := json.Marshal(map[string]any{"secret": s})
	if err != nil || string(encoded) != `{"secret":"***"}` {
		t.Errorf("JSON is %s, %v", encoded, err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", s, s, s, s); text != "*** *** *** ***" {
		t.Errorf("fmt prints %s", text)
	}
}

func TestParseReadsWhatRevealWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := [secret.Size]byte(rapid.SliceOfN(rapid.Byte(), secret.Size, secret.Size).Draw(t, "random"))
		made := secret.FromBytes(random)
		parsed, err := secret.Parse(made.Reveal())
		if err != nil || !parsed.Equal(made) || !bytes.Equal(parsed.Key(), random[:]) || parsed.Reveal() != made.Reveal() {
			t.Fatalf("%d: %v", random, err)
		}
	})
}

func TestParseRefuses(t *testing.T) {
	good := secret.FromBytes([secret.Size]byte{1}).Reveal()
	for name, text := range map[string]string{
		"empty":             "",
		"prefix alone":      "whsec_",
		"no prefix":         strings.TrimPrefix(good, "whsec_"),
		"upper case prefix": strings.ToUpper(good[:6]) + good[6:],
		"line break":        good[:20] + "\n" + good[20:],
		"no padding":        strings.TrimRight(good, "="),
		"URL alphabet":      "whsec_" + strings.Repeat("_-", 16),
		"stray bits":        good[:len(good)-2] + "B=",
		"space":             good + " ",
		"23 bytes":          "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 23)),
		"65 bytes":          "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65)),
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := secret.Parse(text); !errors.Is(err, secret.ErrForm) || !s.IsZero() {
				t.Errorf("got %v, %v", s.Reveal(), err)
			}
		})
	}
}

func TestKeyIsACopy(t *testing.T) {
	s := secret.FromBytes([secret.Size]byte{1})
	s.Key()[0] = 99
	if s.Key()[0] != 1 {
		t.Error("a caller changed the secret")
	}
}

func TestZeroValue(t *testing.T) {
	var s secret.Secret
	if !s.IsZero() || s.Reveal() != "" || s.Key() != nil || s.String() != "***" || s.Equal(secret.FromBytes([secret.Size]byte{})) {
		t.Error("the zero value is not an empty secret")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(secret.FromBytes([secret.Size]byte{1}).Reveal())
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := secret.Parse(text); err == nil && s.Reveal() != text {
			t.Errorf("%q became %q", text, s.Reveal())
		}
	})
}
