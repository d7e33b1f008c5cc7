package delivery

import "time"

// Kind says how an attempt ended (contract, section 7).
type Kind string

// The ways an attempt can end. LeaseExpired means that nobody knows: the process that held the delivery is gone.
const (
	KindSucceeded         Kind = "succeeded"
	KindHTTPStatus        Kind = "http_status"
	KindTimeout           Kind = "timeout"
	KindConnectionRefused Kind = "connection_refused"
	KindConnectionLost    Kind = "connection_lost"
	KindDNS               Kind = "dns"
	KindTLS               Kind = "tls"
	KindBlockedAddress    Kind = "blocked_address"
	KindRedirect          Kind = "redirect"
	KindResponseTooLarge  Kind = "response_too_large"
	KindLeaseExpired      Kind = "lease_expired"
)

// Public is the word for it that callers and receivers see: the contract (section 7) has none for a lost connection, whose error says so.
func (k Kind) Public() Kind {
	if k == KindConnectionLost {
		return KindConnectionRefused
	}
	return k
}

// Outcome is what one attempt, that is one HTTP exchange, came to.
type Outcome struct {
	Kind           Kind              `json:"outcome"`
	StartedAt      time.Time         `json:"startedAt"`
	Duration       time.Duration     `json:"durationNs"`
	RequestHeaders map[string]string `json:"requestHeaders,omitempty"`
	// Status is the HTTP status of the answer, 0 when there was none.
	Status          int               `json:"status,omitempty"`
	ResponseHeaders map[string]string `json:"responseHeaders,omitempty"`
	// ResponseBody is at most the first 4 KiB of the answer.
	ResponseBody []byte `json:"responseBody,omitempty"`
	// Error says in words what went wrong; empty when nothing did.
	Error string `json:"error,omitempty"`
	// RetryAfter is what the receiver asked for, 0 when it did not; at most 24 h (contract, section 4).
	RetryAfter time.Duration `json:"retryAfterNs,omitempty"`
	TraceID    string        `json:"traceId,omitempty"`
}

// EndedAt is when the attempt was over.
func (o Outcome) EndedAt() time.Time { return o.StartedAt.Add(o.Duration) }

// Succeeded reports whether the receiver took the delivery.
func (o Outcome) Succeeded() bool { return o.Kind == KindSucceeded }

// Answered reports whether the receiver gave an answer that could be read, whatever it said.
func (o Outcome) Answered() bool {
	return o.Kind == KindSucceeded || o.Kind == KindHTTPStatus || o.Kind == KindRedirect
}

// Gone reports whether the receiver said that it is gone for good (410).
func (o Outcome) Gone() bool { return o.Kind == KindHTTPStatus && o.Status == 410 }

// Kinds lists all of them.
func Kinds() []Kind {
	return []Kind{
		KindSucceeded, KindHTTPStatus, KindTimeout, KindConnectionRefused, KindConnectionLost, KindDNS,
		KindTLS, KindBlockedAddress, KindRedirect, KindResponseTooLarge, KindLeaseExpired,
	}
}
