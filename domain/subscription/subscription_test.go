package subscription_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

func TestCreate(t *testing.T) {
	want := subscription.Subscription{
		Settings: settings(), ID: "sub_1", Tenant: "tenant-123", Status: subscription.StatusActive,
		Secrets: subscription.Secrets{Current: "sec_1"}, Version: 1, CreatedAt: start, UpdatedAt: start,
	}
	if got := fold(t, created()); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestUpdateDecidesWhatDiffers(t *testing.T) {
	is := settings()
	endpoint := func(s subscription.Settings) subscription.Change {
		return subscription.EndpointChanged{At: start, Name: s.Name, URL: s.URL, Timeout: s.Timeout, MaxInFlight: s.MaxInFlight, RetrySchedule: s.RetrySchedule}
	}
	options := func(s subscription.Settings) subscription.Change {
		return subscription.OptionsChanged{At: start, SourceSystem: s.SourceSystem, Options: s.Options}
	}
	filter := func(s subscription.Settings) subscription.Change {
		return subscription.FilterChanged{At: start, EventTypes: s.EventTypes}
	}
	for name, c := range map[string]struct {
		change func(*subscription.Settings)
		then   func(subscription.Settings) changes
	}{
		"nothing":        {func(*subscription.Settings) {}, func(subscription.Settings) changes { return nil }},
		"name":           {func(s *subscription.Settings) { s.Name = "ERP" }, func(s subscription.Settings) changes { return changes{endpoint(s)} }},
		"URL":            {func(s *subscription.Settings) { s.URL += "2" }, func(s subscription.Settings) changes { return changes{endpoint(s)} }},
		"timeout":        {func(s *subscription.Settings) { s.Timeout++ }, func(s subscription.Settings) changes { return changes{endpoint(s)} }},
		"in flight":      {func(s *subscription.Settings) { s.MaxInFlight++ }, func(s subscription.Settings) changes { return changes{endpoint(s)} }},
		"schedule":       {func(s *subscription.Settings) { s.RetrySchedule = s.RetrySchedule[:1] }, func(s subscription.Settings) changes { return changes{endpoint(s)} }},
		"filter":         {func(s *subscription.Settings) { s.EventTypes = []string{"*"} }, func(s subscription.Settings) changes { return changes{filter(s)} }},
		"source system":  {func(s *subscription.Settings) { s.SourceSystem = "" }, func(s subscription.Settings) changes { return changes{options(s)} }},
		"payload option": {func(s *subscription.Settings) { s.Options = payload.DefaultOptions() }, func(s subscription.Settings) changes { return changes{options(s)} }},
		"all of it": {func(s *subscription.Settings) { *s = subscription.Settings{Name: "none"} },
			func(s subscription.Settings) changes { return changes{endpoint(s), filter(s), options(s)} }},
	} {
		t.Run(name, func(t *testing.T) {
			to := is
			c.change(&to)
			scenario(t, created(), update(to), c.then(to))
			decided, _ := fold(t, created()).Update(to, start)
			if got := fold(t, given(decided...)); !reflect.DeepEqual(got.Settings, to) {
				t.Errorf("the settings are %+v, want %+v", got.Settings, to)
			}
		})
	}
}

// TestEverySettingCanBeChanged fills a field by reflection, so that a new one cannot be forgotten in Update.
func TestEverySettingCanBeChanged(t *testing.T) {
	full := reflect.ValueOf(settings())
	for i := range full.NumField() {
		var from subscription.Settings
		to := from
		reflect.ValueOf(&to).Elem().Field(i).Set(full.Field(i))
		stream := subscription.Create("sub_1", "tenant-123", from, "sec_1", start)
		decided, err := fold(t, stream).Update(to, start)
		if err != nil || len(decided) != 1 {
			t.Errorf("%s: decided %v, %v; want one change", full.Type().Field(i).Name, decided, err)
			continue
		}
		if got := fold(t, append(stream, decided...)); !reflect.DeepEqual(got.Settings, to) {
			t.Errorf("%s is not kept: %+v", full.Type().Field(i).Name, got.Settings)
		}
	}
}

var (
	paused   = subscription.Paused{At: start, Reason: "maintenance"}
	disabled = subscription.Disabled{At: start, Reason: subscription.ReasonGone}
)

// streams is a way into every status, and into none.
func streams() map[subscription.Status]changes {
	return map[subscription.Status]changes{
		"":                          nil,
		subscription.StatusActive:   created(),
		subscription.StatusPaused:   given(paused),
		subscription.StatusDisabled: given(disabled),
		subscription.StatusDeleted:  given(subscription.Deleted{At: start}),
	}
}

// TestCommandsInEveryStatus is the whole table. Who is there already decides nothing.
func TestCommandsInEveryStatus(t *testing.T) {
	const active, isPaused, isDisabled, isDeleted = subscription.StatusActive, subscription.StatusPaused, subscription.StatusDisabled, subscription.StatusDeleted
	nothing, gone := changes{}, problem.NotFound
	resumed := changes{subscription.Resumed{At: start, SkipParked: true}}
	ended := changes{subscription.Deleted{At: start}}
	type outcomes map[subscription.Status]any // what is decided, or the code of the refusal
	for name, c := range map[string]struct {
		when command
		then outcomes
	}{
		"pause":    {pause("maintenance"), outcomes{"": gone, active: changes{paused}, isPaused: nothing, isDisabled: problem.Conflict, isDeleted: gone}},
		"resume":   {resume(true), outcomes{"": gone, active: nothing, isPaused: resumed, isDisabled: resumed, isDeleted: gone}},
		"disable":  {disable(subscription.ReasonGone), outcomes{"": nothing, active: changes{disabled}, isPaused: changes{disabled}, isDisabled: nothing, isDeleted: nothing}},
		"delete":   {deleted(), outcomes{"": gone, active: ended, isPaused: ended, isDisabled: ended, isDeleted: gone}},
		"update":   {update(settings()), outcomes{"": gone, active: nothing, isPaused: nothing, isDisabled: nothing, isDeleted: gone}},
		"complete": {complete(start), outcomes{"": gone, active: nothing, isPaused: nothing, isDisabled: nothing, isDeleted: gone}},
		"rotate": {rotate("sec_2", time.Hour, start), outcomes{"": gone, isDeleted: gone,
			active:     changes{subscription.SecretRotationStarted{At: start, SecretID: "sec_2", OverlapEnd: at(time.Hour)}},
			isPaused:   changes{subscription.SecretRotationStarted{At: start, SecretID: "sec_2", OverlapEnd: at(time.Hour)}},
			isDisabled: changes{subscription.SecretRotationStarted{At: start, SecretID: "sec_2", OverlapEnd: at(time.Hour)}},
		}},
	} {
		for status, stream := range streams() {
			t.Run(name+" when "+string(status), func(t *testing.T) {
				switch then := c.then[status].(type) {
				case problem.Code:
					refused(t, stream, c.when, then)
				case changes:
					scenario(t, stream, c.when, then)
				default:
					t.Fatal("the table says nothing about it")
				}
			})
		}
	}
}

func TestWhyItTakesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		stream changes
		status subscription.Status
		reason string
	}{
		"paused":                   {given(paused), subscription.StatusPaused, "maintenance"},
		"disabled":                 {given(disabled), subscription.StatusDisabled, subscription.ReasonGone},
		"disabled when paused":     {given(paused, disabled), subscription.StatusDisabled, subscription.ReasonGone},
		"resumed, and no longer":   {given(disabled, subscription.Resumed{At: start}), subscription.StatusActive, ""},
		"deleted, whatever it was": {given(paused, subscription.Deleted{At: start}), subscription.StatusDeleted, ""},
	} {
		if s := fold(t, c.stream); s.Status != c.status || s.Reason != c.reason || s.Version != int64(len(c.stream)) {
			t.Errorf("%s: got %s %q at version %d", name, s.Status, s.Reason, s.Version)
		}
	}
}

func TestApplyRefusesWhatNoCommandDecides(t *testing.T) {
	started := func(when, end time.Time) subscription.Change {
		return subscription.SecretRotationStarted{At: when, SecretID: "sec_9", OverlapEnd: end}
	}
	resumed, ended := subscription.Resumed{At: start}, subscription.Deleted{At: start}
	for name, stream := range map[string]changes{
		"nothing before it":           {paused},
		"created twice":               given(created()...),
		"created again":               append(given(ended), created()...),
		"paused twice":                given(paused, paused),
		"paused though disabled":      given(disabled, paused),
		"resumed though active":       given(resumed),
		"disabled twice":              given(disabled, disabled),
		"a change after the end":      given(ended, subscription.FilterChanged{At: start}),
		"deleted twice":               given(ended, ended),
		"an overlap that ends before": given(started(at(1), start)),
		"an overlap of over a week":   given(started(start, at(subscription.MaxOverlap+1))),
		"a rotation within another":   given(started(start, at(time.Hour)), started(at(1), at(time.Hour))),
		"the end of no rotation":      given(subscription.SecretRotationCompleted{At: start}),
		"a rotation that ended twice": given(started(start, start), subscription.SecretRotationCompleted{At: start}, subscription.SecretRotationCompleted{At: start}),
		"nothing at all":              given(nil),
	} {
		t.Run(name, func(t *testing.T) {
			last := len(stream) - 1
			before := subscription.Subscription{}
			if last > 0 {
				before = fold(t, stream[:last])
			}
			after := before
			if err := after.Apply(stream[last]); err == nil || !reflect.DeepEqual(after, before) {
				t.Errorf("error %v; from %+v\nto %+v", err, before, after)
			}
			if s, err := subscription.Fold(stream); err == nil || !reflect.DeepEqual(s, subscription.Subscription{}) {
				t.Errorf("folds to %+v, %v", s, err)
			}
		})
	}
}

func TestBilling(t *testing.T) {
	for name, c := range map[string]struct {
		filter  subscription.Filter
		details bool
		want    bool
	}{
		"a billing type":          {subscription.Filter{"target.imported", "billing.event_sent"}, false, true},
		"the billing family":      {subscription.Filter{"billing.*"}, false, true},
		"everything, which gates": {subscription.Filter{"*"}, false, false},
		"billing details":         {subscription.Filter{"visit_report.*"}, true, true},
		"nothing of it":           {subscription.Filter{"visit_report.*"}, false, false},
	} {
		s := subscription.Settings{EventTypes: c.filter, Options: payload.Options{BillingDetails: c.details}}
		if s.NeedsBilling(subscription.Settings{}) != c.want {
			t.Errorf("%s: needs billing is %t", name, !c.want)
		}
		if s.NeedsBilling(s) {
			t.Errorf("%s: is needed anew by what stays as it is", name)
		}
	}
	for name, c := range map[string]struct {
		before, after subscription.Filter
		want          bool
	}{
		"one of the family that was there": {subscription.Filter{"billing.*"}, subscription.Filter{"billing.event_sent"}, false},
		"the family of one":                {subscription.Filter{"billing.event_sent"}, subscription.Filter{"billing.*"}, true},
		"another one":                      {subscription.Filter{"billing.event_sent"}, subscription.Filter{"billing.event_sent", "billing.event_failed"}, true},
		"by name, of everything":           {subscription.Filter{"*"}, subscription.Filter{"billing.event_sent"}, true},
	} {
		before, after := subscription.Settings{EventTypes: c.before}, subscription.Settings{EventTypes: c.after}
		if after.NeedsBilling(before) != c.want {
			t.Errorf("%s: needs billing is %t", name, !c.want)
		}
	}
}

func TestFailingTooLongIsFiveDays(t *testing.T) {
	if subscription.FailingTooLong != 120*time.Hour {
		t.Errorf("got %s", subscription.FailingTooLong)
	}
}
