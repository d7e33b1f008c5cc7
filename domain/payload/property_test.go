package payload_test

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
)

// wantPaths is the contract's table (section 2), written down a second time.
func wantPaths(e event.Event, v payload.View) []string {
	want := []string{"eventId", "eventType", "occurredAt", "tenantId", "source", "payloadVersion"}
	block := func(when bool, name string, fields ...string) {
		if !when {
			return
		}
		want = append(want, name)
		for _, field := range fields {
			if field != "" {
				want = append(want, name+"."+field)
			}
		}
	}
	only := func(when bool, field string) string {
		if when {
			return field
		}
		return ""
	}
	operational := strings.HasPrefix(string(e.Type), "ordinavo.")
	context := !operational && v.CustomerContext && !slices.Contains([]event.Type{"target.imported", "target.scheduled", "target.completed"}, e.Type)
	is := func(family string) bool { return strings.HasPrefix(string(e.Type), family+".") }
	followUp := e.Type == "target.follow_up_created" || e.Type == "visit_report.follow_up_required"

	block(context && e.CustomerID != nil, "customer", "ordinavoCustomerId", "externalId", "customerNumber", "name")
	block(context && e.LocationID != nil, "location", "ordinavoLocationId", "externalId", "name", "city", "hasCoordinates")
	block(context && v.ContactDetails && e.ContactID != nil, "contact", "ordinavoContactId", "externalId", "displayName")
	if a := e.Appointment; a != nil && !operational {
		block(true, "appointment", "id", "title", "status", "scheduledStart", "scheduledEnd", "startedAt", "completedAt",
			only(a.Problem != nil || e.Type == "appointment.problem_reported", "problem"),
			only(a.Problem != nil, "problem.code"), only(a.Problem != nil, "problem.message"),
			only(a.CancellationReason != nil || e.Type == "appointment.cancelled", "cancellationReason"))
	}
	block(e.VisitReport != nil && (is("visit_report") || is("billing")), "visitReport", "id", "title", "status", "result",
		"followUpRequired", "isBillable", "billingStatus", "attachmentCount", only(v.SummaryPreview, "summaryPreview"))
	block(e.FollowUp != nil && followUp, "followUp", "id", "reason", "dueDate", "targetId")
	if b := e.BillingEvent; b != nil {
		failed := e.Type == "billing.event_failed"
		block(is("billing") && v.BillingDetails && v.Billing, "billingEvent", "id", "status", "sourceType", "visitReportId", "targetId",
			"appointmentId", "createdAtUtc", only(failed, "error"), only(failed && b.Error != nil, "error.code"), only(failed && b.Error != nil, "error.message"))
	}
	block(e.Target != nil && !operational, "target", "id", "externalId", "title")
	failing := e.Type == "ordinavo.subscription.failing"
	block(e.Subscription != nil && operational, "subscription", "id", "name",
		only(e.Type == "ordinavo.subscription.disabled", "reason"), only(failing, "failuresInARow"), only(failing, "failingSince"))
	block(e.Delivery != nil && e.Type == "ordinavo.delivery.dead_lettered", "delivery", "id", "eventId", "eventType", "status", "reason",
		"attemptCount", "createdAt", "lastOutcome", "lastResponseStatus")
	block(e.SecretRotation != nil && e.Type == "ordinavo.secret.rotation_ending", "secretRotation", "overlapEnd")
	return want
}

func TestBodyHasTheKeysOfTheContractInItsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEvent(t)
		c := drawContext(t, e)
		for _, v := range allViews() {
			body, _ := payload.Render(e, v, c)
			if got, want := paths(members(t, body)), wantPaths(e, v); !slices.Equal(got, want) {
				t.Fatalf("%+v: got  %v\nwant %v", v, got, want)
			}
		}
	})
}

func TestNothingIsSentThatMustNotBe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		plain := drawEvent(t)
		e := withForbiddenFields(t, plain)
		c := drawContext(t, e)
		for _, v := range allViews() {
			body, _ := payload.Render(e, v, c)
			if bytes.Contains(body, []byte(forbidden)) {
				t.Fatalf("sent %s", body)
			}
			if unpolluted, _ := payload.Render(plain, v, c); !bytes.Equal(unpolluted, body) {
				t.Fatalf("an unknown field changed the body\nfrom %s\nto   %s", unpolluted, body)
			}
			refuseForeignTexts(t, body)
		}
	})
}

// refuseForeignTexts fails when a member has the text of another field.
func refuseForeignTexts(t *rapid.T, body []byte) {
	for _, m := range members(t, body) {
		text, _ := m.value.(string)
		taken, marked := strings.CutPrefix(text, "@")
		if marked && taken != m.path && (m.path != "visitReport.summaryPreview" || taken != "visitReport.summary") {
			t.Fatalf("%s has the text of %s", m.path, taken)
		}
	}
}

func TestSwitchingOffOnlyTakesAway(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, more, less := drawEvent(t), drawView(t), drawView(t)
		less = payload.View{
			Options: payload.Options{
				CustomerContext: less.CustomerContext && more.CustomerContext,
				ContactDetails:  less.ContactDetails && more.ContactDetails,
				SummaryPreview:  less.SummaryPreview && more.SummaryPreview,
				BillingDetails:  less.BillingDetails && more.BillingDetails,
			},
			Billing: less.Billing && more.Billing,
		}
		c := drawContext(t, e)
		long, longWarnings := payload.Render(e, more, c)
		short, shortWarnings := payload.Render(e, less, c)
		all := members(t, long)
		for _, m := range members(t, short) {
			if !slices.Contains(all, m) {
				t.Fatalf("%v is new\nin   %s\nfrom %s", m, short, long)
			}
		}
		if len(short) > len(long) || len(shortWarnings) > len(longWarnings) {
			t.Fatalf("longer: %s %v, from %s %v", short, shortWarnings, long, longWarnings)
		}
	})
}

func TestEqualKeysMeanEqualBodies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEvent(t)
		bySource := map[string]payload.Context{"sap": drawContext(t, e), "navision": drawContext(t, e)}
		// What the directory holds is the tenant's, only the external IDs are a source system's.
		sap, navision := bySource["sap"], bySource["navision"]
		navision.Customer, navision.Location, navision.Contact = sap.Customer, sap.Location, sap.Contact
		bySource["navision"] = navision

		seen := map[payload.Key][]byte{}
		for source, c := range bySource {
			for _, v := range allViews() {
				body, _ := payload.Render(e, v, c)
				key := v.KeyFor(e, source)
				if before, found := seen[key]; found && !bytes.Equal(before, body) {
					t.Fatalf("%+v has two bodies\n%s\n%s", key, before, body)
				}
				seen[key] = body
				if again := key.View.KeyFor(e, source); again != key {
					t.Fatalf("the key of %+v is %+v", key, again)
				}
			}
		}
	})
}

// What was accepted a moment ago is rendered from memory, and all else from the store: nobody can tell them apart.
func TestAnEventIsTheSameReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEvent(t)
		encoded, err := event.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if decoded, err := event.Decode(encoded); err != nil || !reflect.DeepEqual(decoded, e.Canonical()) {
			t.Fatalf("read back it is %+v (%v), and was %+v", decoded, err, e.Canonical())
		}
	})
}

func TestReferencesAreWhatTheBodyNeeds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, v := drawEvent(t), drawView(t)
		needed := payload.References(e, v.Options)
		c := payload.Context{ExternalIDs: map[payload.Ref]string{}}
		for _, ref := range needed {
			c.ExternalIDs[ref] = "mapped"
		}
		body, warnings := payload.Render(e, v, c)
		records := 0
		for _, ref := range needed {
			if ref.Kind != payload.KindTarget {
				records++
			}
		}
		if mapped := bytes.Count(body, []byte(`"externalId":"mapped"`)); mapped != len(needed) || bytes.Contains(body, []byte(`"externalId":null`)) {
			t.Fatalf("%v for %s", needed, body)
		}
		if len(warnings) != records {
			t.Fatalf("%d records are needed and unknown, warnings %q", records, warnings)
		}
	})
}
