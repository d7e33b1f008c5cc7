package rest

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/domain/problem"
)

func refusing(paths ...string) error {
	fields := problem.Collect("")
	for _, path := range paths {
		fields.Add(path, "no")
	}
	return fields.Err()
}

func many(path string, n int) (paths []string) {
	for i := range n {
		paths = append(paths, path+problem.Index(i))
	}
	return paths
}

func all(string) bool { return true }

func TestJoinedRefusalsNameEachFieldOnce(t *testing.T) {
	for name, c := range map[string]struct{ first, second, want []string }{
		"the same":            {[]string{"name"}, []string{"name"}, []string{"name"}},
		"another":             {[]string{"name"}, []string{"url"}, []string{"name", "url"}},
		"beneath in a list":   {[]string{"eventTypes[1]"}, []string{"eventTypes"}, []string{"eventTypes[1]"}},
		"beneath in an entry": {[]string{"a[1].b.c"}, []string{"a", "a[1]", "a[1].b", "a[2]"}, []string{"a[1].b.c", "a[2]"}},
		"above":               {[]string{"eventTypes"}, []string{"eventTypes[1]"}, []string{"eventTypes", "eventTypes[1]"}},
		"a longer name":       {[]string{"names"}, []string{"name"}, []string{"name", "names"}},
		"only the second":     {nil, []string{"name"}, []string{"name"}},
		"only the first":      {[]string{"name"}, nil, []string{"name"}},
	} {
		got := fieldsOf(joinFields(refusing(c.first...), refusing(c.second...), all))
		if paths := slices.Sorted(maps.Keys(got)); !slices.Equal(paths, c.want) {
			t.Errorf("%s: %v, want %v", name, paths, c.want)
		}
	}
}

// What was quadratic took a gigabyte here, and an hour of CPU for a body of 1 MiB.
func TestManyRefusedFieldsAreJoinedInLinearTime(t *testing.T) {
	for name, c := range map[string]struct{ first, second []string }{
		"many more":     {many("b", maxFieldErrors), many("a", 8000)},
		"many and many": {many("b", 8000), many("a", 8000)},
		"a long name":   {[]string{strings.Repeat(".", 1<<20)}, []string{"name"}},
	} {
		first, second := refusing(c.first...), refusing(c.second...)
		var joined error
		if n := Allocated(func() { joined = joinFields(first, second, all) }); n > 16<<20 {
			t.Errorf("%s: %d bytes", name, n)
		}
		if len(fieldsOf(joined)) == 0 {
			t.Errorf("%s: nothing is refused", name)
		}
	}
}

func TestTooLongAScheduleIsNotLookedAt(t *testing.T) {
	patch := func(entry string, n int) SubscriptionPatch {
		var p SubscriptionPatch
		texts := strings.Repeat(fmt.Sprintf("%q,", entry), n-1) + fmt.Sprintf("%q", entry)
		if err := p.RetrySchedule.UnmarshalJSON([]byte("[" + texts + "]")); err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, entry := range []string{"x", "1s"} {
		_, err := patch(entry, 21).edit()
		if got, want := fieldsOf(err), map[string][]string{"retrySchedule": {"must have 1 to 20 delays"}}; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", entry, got, want)
		}
	}
	if _, err := patch("x", 20).edit(); len(fieldsOf(err)) != 20 {
		t.Errorf("%v", err)
	}
}
