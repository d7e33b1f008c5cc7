package signature

import (
	"encoding/base64"
	"strings"

	"github.com/ordinavo/webhooks/domain/secret"
)

// ReadSecret reads a secret as a receiver may have kept it, and says what is wrong with its form. The
// secret is zero when there is no way to read one out of the text.
func ReadSecret(text string) (secret.Secret, []Finding) {
	if s, err := secret.Parse(text); err == nil {
		return s, nil
	}
	var findings []Finding
	add := func(code Code, detail string) { findings = append(findings, Finding{code, SeverityError, detail}) }
	trimmed := strings.Trim(text, " \t\r\n\"'")
	if trimmed != text {
		add(CodeSecretMalformed, "The secret has white space or quotes around it, which are no part of it.")
	}
	encoded, found := strings.CutPrefix(trimmed, secret.Prefix)
	if !found {
		add(CodeSecretMisused, "The secret is without its prefix whsec_, which belongs to the key of X-Ordinavo-Signature.")
	}
	if s, err := secret.Parse(secret.Prefix + encoded); err == nil {
		return s, findings
	}
	if s, err := secret.Parse(secret.Prefix + standardBase64(encoded)); err == nil {
		add(CodeSecretMalformed, "The secret's base64 was changed: it is the standard alphabet with padding.")
		return s, findings
	}
	return secret.Secret{}, []Finding{{CodeSecretMalformed, SeverityError, "The secret has not the form of one: whsec_ and the standard base64 of 24 to 64 bytes."}}
}

// standardBase64 undoes the URL-safe alphabet and a missing padding.
func standardBase64(text string) string {
	text = strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(text), "=")
	decoded, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return text
	}
	return base64.StdEncoding.EncodeToString(decoded)
}
