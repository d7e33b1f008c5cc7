package rest

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordinavo/webhooks/application/preview"
	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/signature"
)

// Complaint is a request as its receiver saw it.
type Complaint struct {
	Headers        map[string]string `json:"headers" maxProperties:"100" doc:"As they arrived; names in any case, or as PHP, WSGI and Rack have them: HTTP_WEBHOOK_ID."`
	Body           *string           `json:"body,omitempty" maxLength:"131072" doc:"The raw body as text. With bodyBase64 its bytes are kept whatever they are."`
	BodyBase64     *string           `json:"bodyBase64,omitempty" maxLength:"174764" doc:"The raw body in base64, instead of body."`
	Secret         string            `json:"secret,omitempty" maxLength:"200" doc:"The secret that the receiver has; it is neither kept nor shown."`
	SubscriptionID string            `json:"subscriptionId,omitempty" pattern:"^sub_[0-9A-Za-z]{1,40}$" patternDescription:"an id that begins with sub_" doc:"Compares with the secrets that the service knows; alone, or besides the receiver's own."`
	ReceivedAt     *time.Time        `json:"receivedAt,omitempty" doc:"When the request arrived, RFC 3339; without it the age is told, but nothing is said against it."`
}

// Diagnosis is what was found out.
type Diagnosis struct {
	Valid    bool               `json:"valid" doc:"No finding is an error."`
	Findings []SignatureFinding `json:"findings"`
}

// SignatureFinding is one thing that is right or wrong.
type SignatureFinding struct {
	Code     string `json:"code" example:"body_reserialised"`
	Severity string `json:"severity" enum:"ok,warning,error"`
	Detail   string `json:"detail" doc:"In words; it names the header, and never tells a secret."`
}

// TransformSchema lists the codes as the domain knows them.
func (SignatureFinding) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	for _, code := range signature.Codes() {
		s.Properties["code"].Enum = append(s.Properties["code"].Enum, string(code))
	}
	return s
}

// DiagnosisOutput is a Diagnosis as an answer.
type DiagnosisOutput struct{ Body Diagnosis }

type complaintInput struct{ Body Complaint }

func (a *API) routeDoctor() {
	register(a, operation{id: "examineSignature", method: http.MethodPost, path: "/v1/signature-doctor", tag: tagDeliveries, scope: access.WebhooksRead,
		perTenant: true, forBound: true, changesNothing: true, maxBody: 2 << 20,
		summary: "Find out what is wrong with a signature that a receiver refused",
		description: "Takes headers and body as the receiver saw them, and its secret or the subscription. It names another or an old secret, a body that was written anew, " +
			"white space, line endings or a charset that were changed, a timestamp that is too old, headers that are missing or malformed, and keys and encodings that were mixed up. " +
			fmt.Sprintf("429 also says that %d signatures of the tenant are being examined, 503 that %d of all tenants are.", preview.MaxAtOnceForTenant, preview.MaxAtOnce),
		example: map[string]any{
			"headers": map[string]any{
				"x-ordinavo-signature": "sha256=80ec8a89ce3cd22133a1066caecb4d04fea7467657c8514d717ec42c38a5c94c",
				"webhook-id":           "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
				"webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
			},
			"body": `{"test": 2432232314}`, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "receivedAt": "2021-02-25T15:02:11Z",
		}}, a.examineSignature)
}

func (a *API) examineSignature(ctx context.Context, in *complaintInput) (*DiagnosisOutput, error) {
	body, err := in.Body.body()
	if err != nil {
		return nil, err
	}
	if in.Body.Secret == "" && in.Body.SubscriptionID == "" {
		return nil, problem.Invalid("secret", "is missing: send the receiver's secret, or the subscriptionId, or both")
	}
	if err := checkYear("receivedAt", in.Body.ReceivedAt); err != nil {
		return nil, err
	}
	complaint := preview.Complaint{Headers: in.Body.Headers, Body: body, Secret: in.Body.Secret}
	if in.Body.ReceivedAt != nil {
		complaint.ReceivedAt = *in.Body.ReceivedAt
	}
	if in.Body.SubscriptionID != "" {
		if complaint.Lane, err = lane(ctx, in.Body.SubscriptionID); err != nil {
			return nil, err
		}
	}
	end, err := a.Doctor.Begin(ownerOf(ctx))
	if err != nil {
		return nil, err
	}
	defer end()
	findings, err := a.Doctor.Examine(ctx, complaint)
	if err != nil {
		return nil, err
	}
	answer := Diagnosis{signature.Valid(findings), make([]SignatureFinding, len(findings))}
	for i, f := range findings {
		answer.Findings[i] = SignatureFinding{string(f.Code), string(f.Severity), f.Detail}
	}
	return &DiagnosisOutput{answer}, nil
}

func (c Complaint) body() ([]byte, error) {
	switch {
	case c.Body != nil && c.BodyBase64 != nil:
		return nil, problem.Invalid("bodyBase64", "must not be there together with body")
	case c.Body != nil:
		return []byte(*c.Body), nil
	case c.BodyBase64 == nil:
		return nil, problem.Invalid("body", "is missing: send body or bodyBase64")
	}
	body, err := base64.StdEncoding.DecodeString(*c.BodyBase64)
	if err != nil {
		return nil, problem.Invalid("bodyBase64", "is not standard base64")
	}
	return body, nil
}
