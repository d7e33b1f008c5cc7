package signature

import (
	"slices"
	"time"

	"github.com/ordinavo/webhooks/domain/secret"
)

// Severity says what a finding means for the request.
type Severity string

// The severities: one error and the request is not valid.
const (
	SeverityOK      Severity = "ok"
	SeverityWarning Severity = "warning"
	SeverityError   Severity = "error"
)

// Code is a finding's stable, machine-readable name.
type Code string

// The codes. A detail says which header or which part of the body it is about.
const (
	CodeSignatureOK       Code = "signature_ok"
	CodeTimestampOK       Code = "timestamp_ok"
	CodeHeaderMissing     Code = "header_missing"
	CodeHeaderMalformed   Code = "header_malformed"
	CodeSignatureEncoding Code = "signature_encoding" // hex for base64 and the like, or no prefix
	CodeTimestampTooOld   Code = "timestamp_too_old"
	CodeTimestampInFuture Code = "timestamp_in_future"
	CodeTimestampChanged  Code = "timestamp_changed"
	CodeWrongEventID      Code = "wrong_event_id"
	CodeSecretMissing     Code = "secret_missing"
	CodeSecretMalformed   Code = "secret_malformed"
	CodeSecretMisused     Code = "secret_misused" // the right secret, but the wrong bytes of it as the key
	CodeContentMisused    Code = "signed_content_wrong"
	CodeOtherSecret       Code = "other_secret"
	CodeOldSecret         Code = "old_secret"
	CodeBodyMissing       Code = "body_missing"
	CodeBodyReserialised  Code = "body_reserialised"
	CodeBodyEncoded       Code = "body_encoded" // in base64, or as a JSON string
	CodeWhiteSpace        Code = "white_space_changed"
	CodeLineEndings       Code = "line_endings_changed"
	CodeByteOrderMark     Code = "byte_order_mark"
	CodeCharset           Code = "charset_changed"
	CodeBodyAltered       Code = "body_altered" // somehow: it is nothing that the service sends
	CodeMismatch          Code = "signature_mismatch"
)

// Codes is every code; the caller owns the slice.
func Codes() []Code {
	return []Code{
		CodeSignatureOK, CodeTimestampOK, CodeHeaderMissing, CodeHeaderMalformed, CodeSignatureEncoding, CodeTimestampTooOld, CodeTimestampInFuture,
		CodeTimestampChanged, CodeWrongEventID, CodeSecretMissing, CodeSecretMalformed, CodeSecretMisused, CodeContentMisused, CodeOtherSecret,
		CodeOldSecret, CodeBodyMissing, CodeBodyReserialised, CodeBodyEncoded, CodeWhiteSpace, CodeLineEndings, CodeByteOrderMark, CodeCharset,
		CodeBodyAltered, CodeMismatch,
	}
}

// Finding is one thing that was found out about a request. Its detail never holds a secret.
type Finding struct {
	Code     Code
	Severity Severity
	Detail   string
}

// Valid reports whether nothing is wrong.
func Valid(findings []Finding) bool {
	return !slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == SeverityError })
}

// Role is what a secret is to the subscription.
type Role string

// The roles. A given secret is one of which nothing else is known.
const (
	RoleGiven    Role = "given"
	RoleCurrent  Role = "current"
	RolePrevious Role = "previous" // valid until the rotation's overlap ends
	RoleEnded    Role = "ended"    // was replaced, and is no longer valid
)

// Known is a secret that the request may be signed with.
type Known struct {
	Secret secret.Secret
	Role   Role
	// Held says that the receiver has it, as far as one knows; others show whose signature it is instead.
	Held bool
	// Until is the end of the overlap, of RolePrevious and RoleEnded.
	Until time.Time
}

// Received is a request as its receiver saw it.
type Received struct {
	Headers map[string]string // names in any case
	Body    []byte
	At      time.Time
	// AtAssumed says that nobody told when it was received, and At is the present.
	AtAssumed bool
	Secrets   []Known
}
