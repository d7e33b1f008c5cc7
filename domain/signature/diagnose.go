package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/domain/secret"
)

// Diagnose finds out what is right and what is wrong about the signatures of a request and, where it can, what happened to it:
// it undoes the changes that frameworks and proxies are known for, one by one, until a signature is right. It is a pure
// function.
func Diagnose(r Received) []Finding {
	d := &diagnosis{Received: r}
	d.readHeaders()
	d.checkTimestamp()
	d.checkSignatures()
	return d.findings
}

// diagnosis is the state of a Diagnose.
type diagnosis struct {
	Received
	findings []Finding
	message  message
	claims   []claim
}

// message is what a signature may cover.
type message struct {
	id, timestamp string
	body          []byte
}

// claim is what a header says: the codes of one of the two schemes, decoded.
type claim struct {
	scheme
	macs [][]byte
}

// scheme is one of the two ways to sign (contract, section 4).
type scheme struct {
	header  string
	key     func(secret.Secret) []byte
	content func(message) []byte
}

var (
	bodyScheme     = scheme{HeaderBody, wholeText, message.bodyAlone}
	standardScheme = scheme{HeaderStandard, secret.Secret.Key, message.standard}
)

func wholeText(s secret.Secret) []byte { return []byte(s.Reveal()) }

func (m message) bodyAlone() []byte { return m.body }

func (m message) standard() []byte {
	return append([]byte(m.id+"."+m.timestamp+"."), m.body...)
}

func (d *diagnosis) add(code Code, severity Severity, format string, args ...any) {
	f := Finding{code, severity, fmt.Sprintf(format, args...)}
	if !slices.Contains(d.findings, f) {
		d.findings = append(d.findings, f)
	}
}

func (d *diagnosis) checkSignatures() {
	if len(d.Secrets) == 0 {
		d.add(CodeSecretMissing, SeverityError, "There is no secret to check the signatures with.")
		return
	}
	var left []claim
	for _, c := range d.claims {
		if s, ok := d.signerOf(c, d.message); ok {
			d.add(CodeSignatureOK, SeverityOK, "%s is right for this body: it was made with %s.", c.header, s.name())
			d.checkRole(c, s)
		} else {
			left = append(left, c)
		}
	}
	if len(left) == 0 {
		return
	}
	if len(left) < len(d.claims) {
		d.explainTheOther(left[0])
		return
	}
	d.explain(left)
}

// signerOf finds the secret that a claim was made with; those that the receiver has come first.
func (d *diagnosis) signerOf(c claim, m message) (Known, bool) {
	content := c.content(m)
	for _, held := range []bool{true, false} {
		for _, s := range d.Secrets {
			if s.Held == held && c.madeWith(c.key(s.Secret), content) {
				return s, true
			}
		}
	}
	return Known{}, false
}

func (c claim) madeWith(key, content []byte) bool {
	code := hmac.New(sha256.New, key)
	code.Write(content)
	expected := code.Sum(nil)
	return slices.ContainsFunc(c.macs, func(mac []byte) bool { return hmac.Equal(mac, expected) })
}

// name never tells the secret itself.
func (k Known) name() string {
	switch k.Role {
	case RoleCurrent:
		return "the subscription's current secret"
	case RolePrevious:
		return "the subscription's previous secret, which is valid until " + k.Until.UTC().Format(time.RFC3339)
	case RoleEnded:
		return "an old secret of the subscription, which is no longer valid"
	default:
		return "the secret given"
	}
}

// checkRole says what it means that a claim was made with the secret.
func (d *diagnosis) checkRole(c claim, s Known) {
	if !s.Held && s.Role == RolePrevious && d.holds(RoleCurrent) {
		d.add(CodeOldSecret, SeverityWarning, "%s was made with %s; the secret given is the current one. Until the rotation is completed that header keeps the old secret, while %s is of both.",
			c.header, s.name(), HeaderStandard)
		return
	}
	if !s.Held {
		d.add(CodeOtherSecret, SeverityError, "%s was made with %s, which is not the secret given.", c.header, s.name())
		d.reportOldSecretInUse()
		return
	}
	switch s.Role {
	case RolePrevious:
		d.add(CodeOldSecret, SeverityWarning, "%s was made with %s. Until then, or until the rotation is completed, X-Ordinavo-Signature keeps the old secret.", c.header, s.name())
	case RoleEnded:
		d.add(CodeOldSecret, SeverityError, "%s was made with %s.", c.header, s.name())
	case RoleCurrent, RoleGiven:
	}
}

func (d *diagnosis) holds(role Role) bool {
	return slices.ContainsFunc(d.Secrets, func(s Known) bool { return s.Held && s.Role == role })
}

func (d *diagnosis) reportOldSecretInUse() {
	for _, s := range d.Secrets {
		if s.Held && (s.Role == RolePrevious || s.Role == RoleEnded) {
			d.add(CodeOldSecret, SeverityError, "The secret given is %s.", s.name())
		}
	}
}

// explainTheOther explains a request with one right signature and one wrong one. The right one proves body and secret.
func (d *diagnosis) explainTheOther(c claim) {
	switch {
	case d.misused(c):
	case c.header == HeaderBody && d.knowsSubscription():
		d.add(CodeMismatch, SeverityError, "%s is right, but %s is of none of the subscription's secrets: it was changed, or made by somebody else.", HeaderStandard, HeaderBody)
	case c.header == HeaderBody:
		d.add(CodeOtherSecret, SeverityWarning, "%s is of another secret, while %s is right. During a rotation that is as it should be: it keeps the old secret until the rotation is completed.",
			HeaderBody, HeaderStandard)
	case d.substituted(c):
	default:
		d.add(CodeMismatch, SeverityError, "The body and the secret are right, but %s is not of this %s and %s: one of the three is not what was sent.", HeaderStandard, HeaderID, HeaderTimestamp)
	}
}

// knowsSubscription reports whether all secrets of the subscription are known, to compare with.
func (d *diagnosis) knowsSubscription() bool {
	return slices.ContainsFunc(d.Secrets, func(s Known) bool { return s.Role == RoleCurrent })
}

// explain explains a request with no right signature.
func (d *diagnosis) explain(claims []claim) {
	var left []claim
	for _, c := range claims {
		if !d.misused(c) && !(c.header == HeaderStandard && d.substituted(c)) {
			left = append(left, c)
		}
	}
	if len(left) == 0 || d.bodyChanged(left) {
		return
	}
	if len(d.Body) == 0 {
		d.add(CodeBodyMissing, SeverityError, "The body is empty. Check the signature before something else reads the body, or keep the raw bytes.")
		return
	}
	altered := d.hintAtBody()
	d.reportOldSecretInUse()
	if altered { // any secret's signature would be wrong for it
		d.add(CodeMismatch, SeverityError, "%s: made over another body than this one, which cannot tell whether the secret is right.", headersOf(left))
		return
	}
	d.add(CodeOtherSecret, SeverityError, "%s: not made with %s, neither over this body nor over one that a known change would turn into it. Most likely another secret was used.",
		headersOf(left), d.secretNames())
}

func headersOf(claims []claim) string {
	names := make([]string, len(claims))
	for i, c := range claims {
		names[i] = c.header
	}
	return strings.Join(names, " and ")
}

func (d *diagnosis) secretNames() string {
	names := make([]string, len(d.Secrets))
	for i, s := range d.Secrets {
		names[i] = s.name()
	}
	return strings.Join(names, ", nor with ")
}
