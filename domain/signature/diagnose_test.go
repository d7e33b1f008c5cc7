package signature_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/signature"
)

// sent is a request as the service sends it, given to the doctor with the secret it was signed with.
func sent(body []byte, s secret.Secret) signature.Received {
	const id = "evt_01JZ8A2MT8G7C3Y7V0WQ1M9B3C"
	signed := signature.Sign(body, signedAt, id, s, s)
	return signature.Received{
		Headers: map[string]string{
			signature.HeaderBody: signed.Body, signature.HeaderID: signed.ID, signature.HeaderTimestamp: signed.Timestamp, signature.HeaderStandard: signed.Standard,
			"X-Ordinavo-Event-Id": id, "X-Ordinavo-Timestamp": signedAt.UTC().Format(time.RFC3339),
		},
		Body: slices.Clone(body), At: signedAt.Add(time.Second),
		Secrets: []signature.Known{{Secret: s, Role: signature.RoleGiven, Held: true}},
	}
}

// rendered is a real body, with characters that serialisers treat differently.
func rendered(t event.Type, title string) []byte {
	e := event.Sample(t, "tenant-123")
	if e.VisitReport != nil {
		e.VisitReport.Title = &title
	}
	if e.Target != nil {
		e.Target.Title = &title
	}
	body, _ := payload.Render(e, payload.View{Options: payload.Options{CustomerContext: true, ContactDetails: true, SummaryPreview: true, BillingDetails: true}, Billing: true},
		payload.Context{Customer: &payload.Customer{ID: 12, Name: &title}})
	return body
}

// mutation is one thing that goes wrong, and the finding that names it.
type mutation struct {
	want   signature.Code
	detail string // a part of the finding's text
	plant  func(*signature.Received)
}

func ofBody(change func([]byte) []byte) func(*signature.Received) {
	return func(r *signature.Received) { r.Body = change(r.Body) }
}

func ofHeader(name string, change func(string) string) func(*signature.Received) {
	return func(r *signature.Received) { r.Headers[name] = change(r.Headers[name]) }
}

func without(name string) func(*signature.Received) {
	return func(r *signature.Received) { delete(r.Headers, name) }
}

// bytesOf decodes the digest of a header.
func bytesOf(header string) []byte {
	if digits, found := strings.CutPrefix(header, "sha256="); found {
		mac, _ := hex.DecodeString(digits)
		return mac
	}
	mac, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(header, "v1,"))
	return mac
}

// resign replaces a header by a signature that was made in a wrong way.
func resign(name string, sign func(r *signature.Received, s secret.Secret) string) func(*signature.Received) {
	return func(r *signature.Received) { r.Headers[name] = sign(r, r.Secrets[0].Secret) }
}

var mutations = map[string]mutation{
	"other secret": {signature.CodeOtherSecret, "another secret", func(r *signature.Received) { r.Secrets[0].Secret = numbered(99) }},
	"old secret, overlap": {signature.CodeOldSecret, "previous secret, which is valid until", func(r *signature.Received) {
		r.Secrets = []signature.Known{{Secret: numbered(99), Role: signature.RoleCurrent, Held: true}, {Secret: r.Secrets[0].Secret, Role: signature.RolePrevious, Held: true, Until: signedAt}}
	}},
	"old secret, ended": {signature.CodeOldSecret, "no longer valid", func(r *signature.Received) { r.Secrets[0].Role = signature.RoleEnded }},
	"receiver has the old one": {signature.CodeOldSecret, "The secret given", func(r *signature.Received) {
		r.Secrets = []signature.Known{{Secret: numbered(99), Role: signature.RoleEnded, Held: true}, {Secret: r.Secrets[0].Secret, Role: signature.RoleCurrent}}
	}},
	"receiver has another one": {signature.CodeOtherSecret, "current secret, which is not the secret given", func(r *signature.Received) {
		r.Secrets = []signature.Known{{Secret: numbered(99), Role: signature.RoleGiven, Held: true}, {Secret: r.Secrets[0].Secret, Role: signature.RoleCurrent}}
	}},
	"no secret": {signature.CodeSecretMissing, "no secret", func(r *signature.Received) { r.Secrets = nil }},

	"indented":          {signature.CodeWhiteSpace, "indentation", ofBody(indented)},
	"line break behind": {signature.CodeWhiteSpace, "behind", ofBody(func(b []byte) []byte { return append(b, '\n') })},
	"blank before":      {signature.CodeWhiteSpace, "before", ofBody(func(b []byte) []byte { return append([]byte(" "), b...) })},
	"CR LF": {signature.CodeLineEndings, "CR LF", ofBody(func(b []byte) []byte {
		return bytes.ReplaceAll(indented(b), []byte("\n"), []byte("\r\n"))
	})},
	"byte order mark":     {signature.CodeByteOrderMark, "byte order mark", ofBody(func(b []byte) []byte { return append([]byte("\ufeff"), b...) })},
	"HTML escapes":        {signature.CodeBodyReserialised, "HTML", ofBody(func(b []byte) []byte { return remarshal(json.RawMessage(b)) })},
	"slash escapes":       {signature.CodeBodyReserialised, "slashes", ofBody(func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("/"), []byte(`\/`)) })},
	"unicode escapes":     {signature.CodeBodyReserialised, "u00e4", ofBody(asciiOnly)},
	"sorted keys":         {signature.CodeBodyReserialised, "order", ofBody(sorted)},
	"numbers with points": {signature.CodeBodyReserialised, "bytes differ", ofBody(func(b []byte) []byte { return bytes.Replace(b, []byte(`"id":455`), []byte(`"id":455.0`), 1) })},
	"as Latin-1":          {signature.CodeCharset, "character encoding", ofBody(toLatin1)},
	"UTF-8 twice": {signature.CodeCharset, "character encoding", ofBody(func(b []byte) []byte {
		var twice []rune
		for _, c := range b {
			twice = append(twice, rune(c))
		}
		return []byte(string(twice))
	})},
	"UTF-16":            {signature.CodeCharset, "character encoding", ofBody(toUTF16)},
	"lost characters":   {signature.CodeCharset, "lost", ofBody(func(b []byte) []byte { return bytes.ToValidUTF8(toLatin1(b), []byte("\ufffd")) })},
	"as ASCII":          {signature.CodeCharset, "question marks", ofBody(toASCII)},
	"base64":            {signature.CodeBodyEncoded, "base64", ofBody(func(b []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(b)) })},
	"as a JSON string":  {signature.CodeBodyEncoded, "JSON string", ofBody(func(b []byte) []byte { return remarshal(string(b)) })},
	"empty":             {signature.CodeBodyMissing, "empty", ofBody(func([]byte) []byte { return nil })},
	"another character": {signature.CodeOtherSecret, "", ofBody(func(b []byte) []byte { return bytes.Replace(b, []byte("evt_01"), []byte("evt_02"), 1) })},
	"form data":         {signature.CodeBodyAltered, "not JSON", ofBody(func([]byte) []byte { return []byte("eventId=evt_1&eventType=x") })},

	"too old":      {signature.CodeTimestampTooOld, "older", func(r *signature.Received) { r.At = signedAt.Add(time.Hour) }},
	"in future":    {signature.CodeTimestampInFuture, "ahead", func(r *signature.Received) { r.At = signedAt.Add(-time.Hour) }},
	"no time":      {signature.CodeHeaderMissing, "webhook-timestamp", without(signature.HeaderTimestamp)},
	"no id":        {signature.CodeHeaderMissing, "webhook-id", without(signature.HeaderID)},
	"no standard":  {signature.CodeHeaderMissing, "webhook-signature", without(signature.HeaderStandard)},
	"no signature": {signature.CodeHeaderMissing, "X-Ordinavo-Signature", without(signature.HeaderBody)},
	"RFC 3339 time": {signature.CodeHeaderMalformed, "Unix seconds", ofHeader(signature.HeaderTimestamp, func(string) string {
		return signedAt.UTC().Format(time.RFC3339)
	})},
	"milliseconds": {signature.CodeHeaderMalformed, "milliseconds", ofHeader(signature.HeaderTimestamp, func(s string) string { return s + "000" })},
	"another time": {signature.CodeTimestampChanged, "webhook-timestamp", ofHeader(signature.HeaderTimestamp, func(string) string {
		return strconv.FormatInt(signedAt.Unix()+1, 10)
	})},
	"delivery's id": {signature.CodeWrongEventID, "webhook-id", ofHeader(signature.HeaderID, func(string) string { return "dlv_01JZ8A2MT8G7C3Y7V0WQ1M9B3C" })},
	"lower-case id": {signature.CodeWrongEventID, "webhook-id", ofHeader(signature.HeaderID, strings.ToLower)},
	"twice":         {signature.CodeHeaderMalformed, "more than once", func(r *signature.Received) { r.Headers["WEBHOOK-ID"] = "evt_2" }},
	"blank around":  {signature.CodeHeaderMalformed, "white space", ofHeader(signature.HeaderBody, func(s string) string { return s + "\n" })},
	"cut off":       {signature.CodeHeaderMalformed, "64", ofHeader(signature.HeaderBody, func(s string) string { return s[:40] })},
	"standard cut":  {signature.CodeHeaderMalformed, "base64 of 32", ofHeader(signature.HeaderStandard, func(s string) string { return s[:20] })},
	"other version": {signature.CodeHeaderMalformed, "version v1", ofHeader(signature.HeaderStandard, func(s string) string { return "v2" + s[2:] })},
	"endless":       {signature.CodeHeaderMalformed, "longer", ofHeader(signature.HeaderStandard, func(s string) string { return strings.Repeat(s+" ", 100) })},
	"two blanks":    {signature.CodeHeaderMalformed, "one space", ofHeader(signature.HeaderStandard, func(s string) string { return s + "  " + s })},
	"tampered with": {signature.CodeMismatch, "one of the three", ofHeader(signature.HeaderStandard, func(string) string {
		return "v1," + base64.StdEncoding.EncodeToString(make([]byte, 32))
	})},

	"no sha256=":      {signature.CodeSignatureEncoding, "sha256=", ofHeader(signature.HeaderBody, func(s string) string { return s[7:] })},
	"upper-case hex":  {signature.CodeSignatureEncoding, "upper-case", ofHeader(signature.HeaderBody, func(s string) string { return "sha256=" + strings.ToUpper(s[7:]) })},
	"base64 for hex":  {signature.CodeSignatureEncoding, "base64", ofHeader(signature.HeaderBody, func(s string) string { return "sha256=" + base64.StdEncoding.EncodeToString(bytesOf(s)) })},
	"no v1,":          {signature.CodeSignatureEncoding, "v1,", ofHeader(signature.HeaderStandard, func(s string) string { return s[3:] })},
	"hex for base64":  {signature.CodeSignatureEncoding, "hexadecimal", ofHeader(signature.HeaderStandard, func(s string) string { return "v1," + hex.EncodeToString(bytesOf(s)) })},
	"unpadded base64": {signature.CodeSignatureEncoding, "another base64", ofHeader(signature.HeaderStandard, func(s string) string { return strings.TrimRight(s, "=") })},
	"URL-safe base64": {signature.CodeSignatureEncoding, "another base64", ofHeader(signature.HeaderStandard, func(s string) string { return "v1," + base64.RawURLEncoding.EncodeToString(bytesOf(s)) })},
	"decoded key": {signature.CodeSecretMisused, "decoded bytes", resign(signature.HeaderBody, func(r *signature.Received, s secret.Secret) string {
		return "sha256=" + hex.EncodeToString(mac(s.Key(), r.Body))
	})},
	"key sans whsec_": {signature.CodeSecretMisused, "without whsec_", resign(signature.HeaderBody, func(r *signature.Received, s secret.Secret) string {
		return "sha256=" + hex.EncodeToString(mac([]byte(s.Reveal()[6:]), r.Body))
	})},
	"key with a break": {signature.CodeSecretMisused, "line break", resign(signature.HeaderBody, func(r *signature.Received, s secret.Secret) string {
		return "sha256=" + hex.EncodeToString(mac([]byte(s.Reveal()+"\n"), r.Body))
	})},
	"text as key": {signature.CodeSecretMisused, "whsec_ included", resign(signature.HeaderStandard, func(r *signature.Received, s secret.Secret) string {
		return standard(mac([]byte(s.Reveal()), signedContent(r)))
	})},
	"base64 as key": {signature.CodeSecretMisused, "without whsec_", resign(signature.HeaderStandard, func(r *signature.Received, s secret.Secret) string {
		return standard(mac([]byte(s.Reveal()[6:]), signedContent(r)))
	})},
	"body alone": {signature.CodeContentMisused, "body alone", resign(signature.HeaderStandard, func(r *signature.Received, s secret.Secret) string { return standard(mac(s.Key(), r.Body)) })},
	"time.body": {signature.CodeContentMisused, "timestamp.body", resign(signature.HeaderStandard, func(r *signature.Received, s secret.Secret) string {
		return standard(mac(s.Key(), signedContent(r)[len(r.Headers[signature.HeaderID])+1:]))
	})},
	"all of it": {signature.CodeContentMisused, "id.timestamp.body", resign(signature.HeaderBody, func(r *signature.Received, s secret.Secret) string {
		return "sha256=" + hex.EncodeToString(mac([]byte(s.Reveal()), signedContent(r)))
	})},
}

// plainly valid ones: what is missing, or expected in a rotation, is worth a warning.
var harmless = []string{"no signature", "old secret, overlap"}

func TestDiagnoseNamesWhatWasPlanted(t *testing.T) {
	body := rendered(event.VisitReportApproved, `Wärme & <b>/Kälte`)
	for name, m := range mutations {
		t.Run(name, func(t *testing.T) {
			r := sent(body, numbered(1))
			m.plant(&r)
			findings := signature.Diagnose(r)
			if !slices.ContainsFunc(findings, func(f signature.Finding) bool { return f.Code == m.want && strings.Contains(f.Detail, m.detail) }) {
				t.Errorf("want %s (%s), got %v", m.want, m.detail, findings)
			}
			if signature.Valid(findings) != slices.Contains(harmless, name) {
				t.Errorf("valid: %t: %v", signature.Valid(findings), findings)
			}
		})
	}
}

// PHP, WSGI and Rack show a request's headers by other names, and whoever sent those was told that all four are missing.
func TestDiagnoseKnowsHeadersAsCGINamesThem(t *testing.T) {
	r := sent([]byte(`{}`), numbered(1))
	renamed := map[string]string{}
	for name, value := range r.Headers {
		renamed["HTTP_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = value
	}
	r.Headers = renamed
	if findings := signature.Diagnose(r); !signature.Valid(findings) || len(findings) != 3 {
		t.Errorf("as it was sent: %v", findings)
	}
}

// Each code of the list is one that some request leads to.
func TestEveryCodeIsFound(t *testing.T) {
	found := map[signature.Code]bool{signature.CodeSecretMalformed: true} // of ReadSecret
	for _, m := range mutations {
		r := sent(rendered(event.VisitReportApproved, `Ä & <b>/`), numbered(1))
		m.plant(&r)
		for _, f := range signature.Diagnose(r) {
			found[f.Code] = true
		}
	}
	if got, want := slices.Sorted(maps.Keys(found)), slices.Sorted(slices.Values(signature.Codes())); !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

// What the service signs is valid, whatever is in it; and one mutation more, and its finding is there.
func TestDiagnoseProperty(t *testing.T) {
	names := slices.Sorted(maps.Keys(mutations))
	rapid.Check(t, func(t *rapid.T) {
		// The planted change needs something to change: a letter beyond ASCII, HTML's characters, a slash.
		title := rapid.StringOf(rapid.RuneFrom([]rune("abc äöß…<>&'/\\\"\n"))).Draw(t, "title") + "ä<&>/"
		s := secret.FromBytes([secret.Size]byte(rapid.SliceOfN(rapid.Byte(), secret.Size, secret.Size).Draw(t, "secret")))
		r := sent(rendered(rapid.SampledFrom(event.Types()).Draw(t, "type"), title), s)
		findings := signature.Diagnose(r)
		if !signature.Valid(findings) || len(findings) != 3 {
			t.Fatalf("as it was sent: %v", findings)
		}
		name := rapid.SampledFrom(names).Draw(t, "mutation")
		if name == "as Latin-1" || name == "lost characters" {
			return // the title may have what Latin-1 has not
		}
		mutations[name].plant(&r)
		findings = signature.Diagnose(r)
		if !slices.ContainsFunc(findings, func(f signature.Finding) bool { return f.Code == mutations[name].want }) {
			t.Fatalf("%s: want %s, got %v", name, mutations[name].want, findings)
		}
	})
}

// The order of keys that is undone is the renderer's, for each type.
func TestSortedKeysOfEveryType(t *testing.T) {
	for _, eventType := range event.AllTypes() {
		r := sent(rendered(eventType, "a"), numbered(1))
		mutations["sorted keys"].plant(&r)
		if findings := signature.Diagnose(r); !slices.ContainsFunc(findings, func(f signature.Finding) bool { return f.Code == signature.CodeBodyReserialised }) {
			t.Errorf("%s: %v", eventType, findings)
		}
	}
}

// No secret signs a body that was never sent, so nothing is said against the receiver's; of a body that may have been sent it is.
func TestAnAlteredBodyBlamesNoSecret(t *testing.T) {
	whole, ascii := rendered(event.VisitReportApproved, "Wärme <Kälte>"), rendered(event.VisitReportApproved, "Heat")
	blames := func(body []byte, held secret.Secret) bool {
		r := sent(whole, numbered(1))
		r.Body, r.Secrets[0].Secret = body, held
		findings := signature.Diagnose(r)
		if signature.Valid(findings) {
			t.Errorf("%s: %v", body, findings)
		}
		return slices.ContainsFunc(findings, func(f signature.Finding) bool { return f.Code == signature.CodeOtherSecret })
	}
	for name, body := range map[string][]byte{
		"cut off":        whole[:len(whole)-20],
		"form data":      []byte("eventId=evt_1&eventType=x"),
		"field left out": bytes.Replace(indented(whole), []byte(`"payloadVersion": "1.0",`), nil, 1),
		"not parsed":     []byte("{}"),
		"of a class":     bytes.Replace(ascii, []byte(`"payloadVersion":"1.0",`), nil, 1),
		"sorted, in ms":  sorted(bytes.Replace(ascii, []byte(":00Z"), []byte(":00.000Z"), 1)),
		"as .NET writes": bytes.ReplaceAll(ascii, []byte(`"e`), []byte(`"E`)),
		"not UTF-8":      bytes.Replace(whole, []byte("ä"), []byte("\xe4\xff\x81"), 1),
	} {
		if blames(body, numbered(1)) {
			t.Errorf("%s: another secret is blamed", name)
		}
	}
	for _, eventType := range event.AllTypes() {
		if body := rendered(eventType, "Wärme <Kälte> \u2028 \ufffd"); !blames(body, numbered(99)) {
			t.Errorf("%s: the secret is not blamed", eventType)
		}
	}
}

func TestWindows1252(t *testing.T) {
	r := sent([]byte(`{"summaryPreview":"ein …"}`), numbered(1))
	r.Body = []byte("{\"summaryPreview\":\"ein \x85\"}")
	if findings := signature.Diagnose(r); findings[1].Code != signature.CodeCharset {
		t.Error(findings)
	}
}

// During a rotation a receiver that has the new secret alone finds the body's signature to be of another one.
func TestDiagnoseDuringARotation(t *testing.T) {
	older, newer, body := numbered(1), numbered(2), []byte(`{}`)
	r := sent(body, older)
	signed := signature.Sign(body, signedAt, r.Headers[signature.HeaderID], older, newer, older)
	r.Headers[signature.HeaderStandard] = signed.Standard
	for name, c := range map[string]struct {
		secrets []signature.Known
		want    signature.Code
	}{
		"it has the new one":  {[]signature.Known{{Secret: newer, Role: signature.RoleGiven, Held: true}}, signature.CodeOtherSecret},
		"it has the old one":  {[]signature.Known{{Secret: older, Role: signature.RolePrevious, Held: true}, {Secret: newer, Role: signature.RoleCurrent}}, signature.CodeOldSecret},
		"nobody says":         {[]signature.Known{{Secret: newer, Role: signature.RoleCurrent, Held: true}, {Secret: older, Role: signature.RolePrevious, Held: true}}, signature.CodeOldSecret},
		"it has some old one": {[]signature.Known{{Secret: older, Role: signature.RoleGiven, Held: true}}, signature.CodeSignatureOK},
	} {
		r.Secrets = c.secrets
		findings := signature.Diagnose(r)
		if !signature.Valid(findings) || !slices.ContainsFunc(findings, func(f signature.Finding) bool { return f.Code == c.want }) {
			t.Errorf("%s: %v", name, findings)
		}
	}
	// With all secrets of the subscription at hand, a body's signature of none of them is no rotation's.
	r.Secrets = []signature.Known{{Secret: newer, Role: signature.RoleCurrent, Held: true}}
	if findings := signature.Diagnose(r); signature.Valid(findings) {
		t.Error(findings)
	}
}

func TestAnAssumedTimeOnlyWarns(t *testing.T) {
	r := sent([]byte(`{}`), numbered(1))
	r.At, r.AtAssumed = signedAt.Add(48*time.Hour), true
	findings := signature.Diagnose(r)
	if !signature.Valid(findings) || findings[0].Code != signature.CodeTimestampTooOld || findings[0].Severity != signature.SeverityWarning {
		t.Error(findings)
	}
}

func TestReadSecret(t *testing.T) {
	good := secret.FromBytes([secret.Size]byte(bytes.Repeat([]byte{0xFB, 0xFF}, 16)))
	text := good.Reveal()
	for name, c := range map[string]struct {
		text string
		want []signature.Code
		read bool
	}{
		"as shown":     {text, nil, true},
		"line break":   {text + "\n", []signature.Code{signature.CodeSecretMalformed}, true},
		"in quotes":    {`"` + text + `"`, []signature.Code{signature.CodeSecretMalformed}, true},
		"no prefix":    {text[6:], []signature.Code{signature.CodeSecretMisused}, true},
		"no padding":   {strings.TrimRight(text, "="), []signature.Code{signature.CodeSecretMalformed}, true},
		"URL-safe":     {secret.Prefix + base64.URLEncoding.EncodeToString(good.Key()), []signature.Code{signature.CodeSecretMalformed}, true},
		"all of it":    {" " + strings.TrimRight(text[6:], "="), []signature.Code{signature.CodeSecretMalformed, signature.CodeSecretMisused, signature.CodeSecretMalformed}, true},
		"an API key":   {"ord_live_4711", []signature.Code{signature.CodeSecretMalformed}, false},
		"nothing":      {"", []signature.Code{signature.CodeSecretMalformed}, false},
		"a part of it": {text[:20], []signature.Code{signature.CodeSecretMalformed}, false},
	} {
		s, findings := signature.ReadSecret(c.text)
		var codes []signature.Code
		for _, f := range findings {
			codes = append(codes, f.Code)
			if f.Severity != signature.SeverityError || c.text != "" && strings.Contains(f.Detail, c.text) {
				t.Errorf("%s: %v", name, f)
			}
		}
		if !slices.Equal(codes, c.want) || c.read != s.Equal(good) || s.IsZero() == c.read {
			t.Errorf("%s: %v, read %t", name, codes, s.Equal(good))
		}
	}
}

// Whatever arrives, the doctor ends, tells no secret, and says valid only of what a receiver may take.
func FuzzDiagnose(f *testing.F) {
	s := numbered(1)
	for _, name := range slices.Sorted(maps.Keys(mutations)) {
		r := sent(rendered(event.BillingEventFailed, `Ä & <b>/`), s)
		mutations[name].plant(&r)
		f.Add(r.Headers[signature.HeaderBody], r.Headers[signature.HeaderID], r.Headers[signature.HeaderTimestamp], r.Headers[signature.HeaderStandard], r.Body)
	}
	f.Fuzz(func(t *testing.T, ofBody, id, timestamp, standard string, body []byte) {
		r := sent(nil, s)
		r.Headers = map[string]string{signature.HeaderBody: ofBody, signature.HeaderID: id, signature.HeaderTimestamp: timestamp, signature.HeaderStandard: standard}
		r.Body = slices.Clone(body)
		findings := signature.Diagnose(r)
		if !bytes.Equal(r.Body, body) {
			t.Error("the body was changed")
		}
		if shown := fmt.Sprintf("%+v", findings); strings.Contains(shown, s.Reveal()) || strings.Contains(shown, s.Reveal()[6:]) {
			t.Errorf("the secret is in %s", shown)
		}
		accepted := signature.VerifyBody(strings.TrimSpace(ofBody), body, s) == nil ||
			signature.VerifyStandard(id, timestamp, standard, body, r.At, signature.DefaultTolerance, s) == nil
		if signature.Valid(findings) && !accepted {
			t.Errorf("valid, but no receiver takes it: %v", findings)
		}
	})
}
