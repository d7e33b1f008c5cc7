package subscription_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// TestFilterMatchesEveryType holds each of the 19 types against each pattern there is.
func TestFilterMatchesEveryType(t *testing.T) {
	types := event.Types()
	if len(types) != 19 {
		t.Fatalf("there are %d types", len(types))
	}
	for _, wanted := range types {
		family, _, _ := strings.Cut(string(wanted), ".")
		for _, is := range types {
			same, related := is == wanted, strings.HasPrefix(string(is), family+".")
			for pattern, want := range map[string]bool{string(wanted): same, family + ".*": related, "*": true} {
				if got := (subscription.Filter{pattern}).Matches(is); got != want {
					t.Errorf("%s matches %s: %t", pattern, is, got)
				}
			}
		}
	}
}

// What the service tells of its own work comes to who asks for it, and not with *.
func TestFilterOfOperationalEvents(t *testing.T) {
	for _, is := range event.OperationalTypes() {
		for pattern, want := range map[string]bool{"*": false, "ordinavo.*": true, string(is): true, "target.*": false, "ordinavo.subscription.*": false} {
			if got := (subscription.Filter{pattern}).Matches(is); got != want {
				t.Errorf("%s matches %s: %t", pattern, is, got)
			}
		}
	}
	if got := (subscription.Filter{"ordinavo.*", "*"}); !got.Matches(event.TargetImported) || !got.Matches(event.SubscriptionFailing) {
		t.Errorf("%v does not match all there is", got)
	}
}

func TestFilterIsAListOfAlternatives(t *testing.T) {
	f := subscription.Filter{"target.imported", "billing.*"}
	for is, want := range map[event.Type]bool{
		event.TargetImported: true, event.BillingEventSent: true, event.TargetCompleted: false, event.VisitReportApproved: false,
	} {
		if f.Matches(is) != want {
			t.Errorf("%s: %t", is, !want)
		}
	}
	if (subscription.Filter{}).Matches(event.TargetImported) {
		t.Error("an empty filter matches")
	}
}

// problems is what is wrong with settings that have this filter, by path.
func problems(f subscription.Filter) map[string][]string {
	s := settings()
	s.EventTypes = f
	return invalid(s, true)
}

func TestFilterValidation(t *testing.T) {
	long := make(subscription.Filter, subscription.MaxPatterns+1)
	for name, c := range map[string]struct {
		filter subscription.Filter
		paths  []string
	}{
		"everything":            {subscription.Filter{"*"}, nil},
		"operational events":    {subscription.Filter{"ordinavo.*", "ordinavo.subscription.failing", "ordinavo.subscription.*"}, []string{"eventTypes[2]"}},
		"families and types":    {subscription.Filter{"visit_report.*", "target.imported", "*"}, nil},
		"nothing":               {nil, []string{"eventTypes"}},
		"too many":              {long, []string{"eventTypes"}},
		"an unknown type":       {subscription.Filter{"*", "visit_report.lost"}, []string{"eventTypes[1]"}},
		"an unknown family":     {subscription.Filter{"invoice.*"}, []string{"eventTypes[0]"}},
		"a family alone":        {subscription.Filter{"visit_report"}, []string{"eventTypes[0]"}},
		"a part of a family":    {subscription.Filter{"visit.*", "visit_*", "visit_report.app*"}, []string{"eventTypes[0]", "eventTypes[1]", "eventTypes[2]"}},
		"nothing before the .*": {subscription.Filter{".*", "**", ""}, []string{"eventTypes[0]", "eventTypes[1]", "eventTypes[2]"}},
		"a type and .*":         {subscription.Filter{"target.imported.*"}, []string{"eventTypes[0]"}},
		"upper case, spaces":    {subscription.Filter{"Target.imported", " *"}, []string{"eventTypes[0]", "eventTypes[1]"}},
		"one twice":             {subscription.Filter{"*", "target.*", "*"}, []string{"eventTypes[2]"}},
	} {
		if got := paths(problems(c.filter)); !slices.Equal(got, c.paths) {
			t.Errorf("%s: refused %v, want %v", name, got, c.paths)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, seed := range []string{"*", "visit_report.*", "target.imported", "billing.*\nbilling.event_sent", ".*", "", "*\n*", "\xff.*", "target.\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		filter := subscription.Filter(strings.Split(text, "\n"))
		refusals := problems(filter)
		matched := slices.ContainsFunc(event.AllTypes(), filter.Matches)
		if len(refusals) == 0 && !matched {
			t.Fatalf("%q is valid and matches nothing", filter)
		}
		if len(filter) > subscription.MaxPatterns {
			return
		}
		for i, pattern := range filter {
			one := subscription.Filter{pattern}
			refusedAlone := len(problems(one)) > 0
			if matches := slices.ContainsFunc(event.AllTypes(), one.Matches); matches == refusedAlone {
				t.Fatalf("%q matches a type: %t, but is refused: %t", pattern, matches, refusedAlone)
			}
			if _, refused := refusals["eventTypes"+problem.Index(i)]; refused != (refusedAlone || slices.Contains(filter[:i], pattern)) {
				t.Fatalf("entry %d of %q is refused: %t", i, filter, refused)
			}
		}
		if filter.NamesBilling(nil) && len(refusals) == 0 && !slices.ContainsFunc(event.AllTypes(), func(is event.Type) bool {
			return is.Family() == event.FamilyBilling && filter.Matches(is)
		}) {
			t.Fatalf("%q wants billing and matches none of it", filter)
		}
	})
}
