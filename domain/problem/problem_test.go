package problem_test

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"github.com/ordinavo/webhooks/domain/problem"
)

func TestPaths(t *testing.T) {
	root := problem.Collect("")
	entry := root.Under("events").Under(problem.Index(3))
	for want, got := range map[string]string{
		"name":                      root.Path("name"),
		"":                          root.Path(""),
		"events":                    root.Under("events").Path(""),
		"events[3]":                 entry.Path(""),
		"events[3].visitReport.id":  entry.Under("visitReport").Path("id"),
		"eventTypes[0]":             root.Path("eventTypes" + problem.Index(0)),
		"matrix[1][2]":              root.Under("matrix").Under(problem.Index(1)).Path(problem.Index(2)),
		"[7].id":                    root.Under(problem.Index(7)).Path("id"),
		"settings.retrySchedule[1]": problem.Collect("settings").Under("retrySchedule").Path(problem.Index(1)),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestNothingCollectedIsNoError(t *testing.T) {
	if err := problem.Collect("events").Under("target").Err(); err != nil {
		t.Errorf("got %v", err)
	}
	if err := (problem.Fields{}).Err(); err != nil {
		t.Errorf("the zero value: got %v", err)
	}
}

func TestInvalidIsOneField(t *testing.T) {
	fields := problem.Collect("")
	fields.Add("since", "is before %d", 1970)
	if got, want := problem.Invalid("since", "is before %d", 1970), fields.Err(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFieldsOfAllBlocksEndInOneError(t *testing.T) {
	fields := problem.Collect("")
	block := fields.Under("visitReport")
	block.Add("id", "is missing")
	block.Add("id", "must be at least %d", 1)
	fields.Add("eventType", "is not known")

	var refusal *problem.Error
	if err := block.Err(); !errors.As(err, &refusal) || !problem.Is(err, problem.ValidationFailed) {
		t.Fatalf("got %v", err)
	}
	want := map[string][]string{"visitReport.id": {"is missing", "must be at least 1"}, "eventType": {"is not known"}}
	if !reflect.DeepEqual(refusal.Fields, want) {
		t.Errorf("got %v, want %v", refusal.Fields, want)
	}
}

func TestTheTextIsAlwaysTheSame(t *testing.T) {
	fields := problem.Collect("")
	for _, field := range []string{"z", "a", "m", "b", "y", "c"} {
		fields.Add(field, "no")
	}
	fields.Add("m", "never")
	want := "validation_failed: The input has fields that are missing or not valid.; a: no; b: no; c: no; m: no, never; y: no; z: no"
	for range 100 {
		if got := fields.Err().Error(); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}

// A body may have a million fields that no route knows, and somebody may log the refusal.
func TestTheTextOfManyFieldsIsWrittenOnce(t *testing.T) {
	fields := problem.Collect("")
	for i := range 5_000 {
		fields.Add("entries"+problem.Index(i), "is not a field that this route knows")
	}
	err := fields.Err()
	var text string
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	text = err.Error()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 32*uint64(len(text)) {
		t.Errorf("%d bytes for a text of %d", n, len(text))
	}
}

func TestIs(t *testing.T) {
	refusal := problem.New(problem.Conflict, "Delivery %s is open.", "dlv_1")
	if refusal.Error() != "conflict: Delivery dlv_1 is open." {
		t.Errorf("got %q", refusal.Error())
	}
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"itself":          {refusal, true},
		"wrapped":         {fmt.Errorf("retry: %w", refusal), true},
		"another code":    {problem.New(problem.NotFound, "no"), false},
		"no problem":      {errors.New("conflict"), false},
		"no error at all": {nil, false},
	} {
		if problem.Is(c.err, problem.Conflict) != c.want {
			t.Errorf("%s: %t", name, !c.want)
		}
	}
}

func TestCodesAreTheContracts(t *testing.T) {
	got := []problem.Code{
		problem.InvalidRequest, problem.ValidationFailed, problem.Unauthorized, problem.Forbidden, problem.MissingScope,
		problem.FeatureNotEnabled, problem.NotFound, problem.Conflict, problem.IdempotencyConflict,
		problem.PayloadTooLarge, problem.RateLimited, problem.Internal, problem.Unavailable,
	}
	want := []problem.Code{
		"invalid_request", "validation_failed", "unauthorized", "forbidden", "missing_scope", "feature_not_enabled", "not_found",
		"conflict", "idempotency_conflict", "payload_too_large", "rate_limited", "internal_error", "unavailable",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// An error that was handed out is not changed by what is found later.
func TestAnErrorStaysAsItWas(t *testing.T) {
	fields := problem.Collect("")
	fields.Add("name", "is missing")
	err := fields.Err()
	fields.Add("url", "is missing")
	fields.Add("name", "is wrong too")
	var refusal *problem.Error
	if !errors.As(err, &refusal) || !maps.EqualFunc(refusal.Fields, map[string][]string{"name": {"is missing"}}, slices.Equal) {
		t.Errorf("got %v", err)
	}
}

func TestTexts(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"empty":                {"", nil},
		"as long as may be":    {"üüüü", nil},
		"longer":               {"üüüüü", []string{"is longer than 4 characters"}},
		"not UTF-8":            {"a\xff", []string{"is not valid UTF-8"}},
		"with a line break":    {"a\nb", []string{"has a control character"}},
		"longer, with a DEL":   {"abcd\x7f", []string{"is longer than 4 characters", "has a control character"}},
		"not UTF-8, with a C1": {"\xff\u0085", []string{"is not valid UTF-8", "has a control character"}},
	} {
		fields := problem.Collect("")
		fields.CheckText("name", c.text, 4)
		var refusal *problem.Error
		if errors.As(fields.Err(), &refusal); refusal == nil {
			refusal = &problem.Error{}
		}
		if !slices.Equal(refusal.Fields["name"], c.want) {
			t.Errorf("%s: got %q", name, refusal.Fields)
		}
	}
}
