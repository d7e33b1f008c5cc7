package rest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// Change is one entry of a subscription's history.
type Change struct {
	Version int64     `json:"version" doc:"Of the subscription after the change."`
	Change  string    `json:"change" enum:"created,endpoint_changed,filter_changed,options_changed,secret_rotation_started,secret_rotation_completed,paused,resumed,disabled,deleted"`
	Summary string    `json:"summary" doc:"What it did, in words." example:"It was paused: events are parked from now on."`
	At      time.Time `json:"at"`
	By      ChangedBy `json:"by"`
	TraceID string    `json:"traceId" doc:"Of the request that asked for it; empty for the service's own changes."`
	// Link names the state after the change.
	Link         string        `json:"link" doc:"The subscription as the change left it." example:"/v1/subscriptions/sub_01JZ8A2MT8G7C3Y7V0WQ1M9B3C?version=3"`
	Fields       []FieldChange `json:"fields" doc:"Field by field, by the names of the subscription's own answer."`
	FeatureGated []GatedEvents `json:"featureGated" doc:"What was not sent while this version was in force, since the tenant lacked a feature."`
}

// ChangedBy is who asked for a change.
type ChangedBy struct {
	KeyID   *string `json:"keyId" doc:"null for the service itself."`
	KeyName string  `json:"keyName" example:"ERP"`
}

// FieldChange is what a change did to one field.
type FieldChange struct {
	Field  string `json:"field" example:"payloadOptions.customerContext"`
	Before any    `json:"before" doc:"null before the subscription was created. Secrets are masked."`
	After  any    `json:"after"`
}

// GatedEvents counts what a missing feature kept back.
type GatedEvents struct {
	Feature         string    `json:"feature" example:"billing_webhooks"`
	Events          int       `json:"events"`
	FirstAcceptedAt time.Time `json:"firstAcceptedAt"`
	LastAcceptedAt  time.Time `json:"lastAcceptedAt"`
	Reason          string    `json:"reason"`
}

type historyInput struct {
	SubscriptionRef
	Paging
}

func (a *API) history(ctx context.Context, in *historyInput) (*PageOutput[Change], error) {
	l, err := lane(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	list := a.listOf(ctx, "history", in.Paging, in.ID)
	before, err := list.afterNumber()
	if err != nil {
		return nil, err
	}
	if before == 1 {
		return pageOf(list, nil, versionOf, viewChange)
	}
	entries, err := a.History.Page(ctx, l, before, list.fetch())
	if err != nil {
		return nil, err
	}
	return pageOf(list, entries, versionOf, viewChange)
}

func versionOf(e subscriptions.Entry) string { return strconv.FormatInt(e.After.Version, 10) }

func viewChange(e subscriptions.Entry) Change {
	view := Change{
		Version: e.After.Version, Change: subscription.Word(e.Change), Summary: subscription.Sentence(e.Change), At: e.At.UTC(),
		By: ChangedBy{unlessEmpty(e.By.KeyID), e.By.KeyName}, TraceID: traceIDOf(e.By.TraceParent),
		Link: versionLink(e.After.ID, e.After.Version), Fields: changedFields(e), FeatureGated: []GatedEvents{},
	}
	for _, k := range e.Gated {
		view.FeatureGated = append(view.FeatureGated, GatedEvents{
			Feature: string(k.Feature), Events: k.Events, FirstAcceptedAt: k.First.UTC(), LastAcceptedAt: k.Last.UTC(),
			Reason: fmt.Sprintf("The tenant did not have the feature %s when these events were fanned out, so they were not sent.", k.Feature),
		})
	}
	return view
}

// versionLink is where a subscription is shown as it was at a version.
func versionLink(subscriptionID string, version int64) string {
	return fmt.Sprintf("/v1/subscriptions/%s?version=%d", subscriptionID, version)
}

// maskedSecret stands for every secret.
const maskedSecret = "whsec_***"

// changedFields compares the states before and after as the API shows them, so that no field is forgotten.
func changedFields(e subscriptions.Entry) []FieldChange {
	before, after := shownFields(e.Before, e.At), shownFields(e.After, e.At)
	names := map[string]any{}
	maps.Copy(names, before)
	maps.Copy(names, after)
	fields := []FieldChange{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !reflect.DeepEqual(before[name], after[name]) {
			fields = append(fields, FieldChange{name, before[name], after[name]})
		}
	}
	if _, rotates := e.Change.(subscription.SecretRotationStarted); rotates {
		fields = append(fields, FieldChange{"secret", maskedSecret, maskedSecret})
	}
	slices.SortFunc(fields, func(a, b FieldChange) int { return cmp.Compare(a.Field, b.Field) })
	return fields
}

// shownFields is a state's fields as its answer names them; an object's fields are prefixed with its name and a dot.
func shownFields(s subscription.Subscription, at time.Time) map[string]any {
	if s.Version == 0 {
		return nil
	}
	var encoded bytes.Buffer
	_ = writeJSON(&encoded, viewSubscription(s, at)) // cannot fail: it is texts, numbers and times
	var shown map[string]any
	_ = json.Unmarshal(encoded.Bytes(), &shown)
	fields := map[string]any{"secret": maskedSecret}
	for name, value := range shown {
		switch object, isObject := value.(map[string]any); {
		case slices.Contains([]string{"id", "tenantId", "version", "createdAt", "updatedAt"}, name):
		case isObject:
			for inner, v := range object {
				fields[name+"."+inner] = v
			}
		default:
			fields[name] = value
		}
	}
	return fields
}
