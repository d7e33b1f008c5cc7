package payload_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
)

var update = flag.Bool("update", false, "write the golden files anew")

const owner = "tenant-123"

// exampleContext is what the directory of the public example resolves to.
func exampleContext() payload.Context {
	return payload.Context{
		Customer: &payload.Customer{ID: 12, CustomerNumber: new("RRM-001"), Name: new("Rhein-Ruhr Medical Supply")},
		Location: &payload.Location{ID: 34, Name: new("Essen Center"), City: new("Essen"), HasCoordinates: new(true)},
		Contact:  &payload.Contact{ID: 56, DisplayName: new("Anna Weber")},
		ExternalIDs: map[payload.Ref]string{
			{Kind: payload.KindCustomer, ID: 12}: "CUST-10042",
			{Kind: payload.KindLocation, ID: 34}: "LOC-ESSEN-01",
			{Kind: payload.KindContact, ID: 56}:  "CONT-44",
			{Kind: payload.KindTarget, ID: 455}:  "JOB-2026-000918",
		},
	}
}

// allViews is every combination of options and feature.
func allViews() []payload.View {
	var views []payload.View
	for bits := range 32 {
		on := func(bit int) bool { return bits&(1<<bit) != 0 }
		views = append(views, payload.View{
			Options: payload.Options{CustomerContext: on(0), ContactDetails: on(1), SummaryPreview: on(2), BillingDetails: on(3)},
			Billing: on(4),
		})
	}
	return views
}

func TestPublicExampleByteForByte(t *testing.T) {
	example, err := os.ReadFile(filepath.Join("testdata", "visit_report.approved.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := json.Compact(&want, example); err != nil {
		t.Fatal(err)
	}
	got, warnings := payload.Render(event.Sample(event.VisitReportApproved, owner), payload.View{Options: payload.DefaultOptions()}, exampleContext())
	if !bytes.Equal(got, want.Bytes()) || warnings != nil {
		t.Errorf("got  %s %v\nwant %s", got, warnings, want.Bytes())
	}
}

// One file a type, one line a view that changes its body: the name of what is on, and the body.
func TestGolden(t *testing.T) {
	for _, eventType := range event.AllTypes() {
		t.Run(string(eventType), func(t *testing.T) {
			got := goldenText(t, event.Sample(eventType, owner))
			path := filepath.Join("testdata", string(eventType)+".golden.json")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("differs from %s (go test ./domain/payload -update writes it anew):\ngot\n%s\nwant\n%s", path, got, want)
			}
		})
	}
}

func goldenText(t *testing.T, e event.Event) []byte {
	views := map[payload.View]string{}
	bodies := map[string]payload.View{}
	var lines []string
	for _, v := range allViews() {
		body, warnings := payload.Render(e, v, exampleContext())
		if warnings != nil {
			t.Errorf("%+v: warnings %q", v, warnings)
		}
		seen := v.For(e)
		if before, found := views[seen]; found {
			if before != string(body) {
				t.Errorf("one view has two bodies: %+v\n%s\n%s", seen, before, body)
			}
			continue
		}
		if before, found := bodies[string(body)]; found {
			t.Errorf("two views have one body: %+v and %+v", before, seen)
		}
		views[seen], bodies[string(body)] = string(body), seen
		lines = append(lines, fmt.Sprintf("%q: %s", viewName(seen), body))
	}
	return []byte("{\n" + strings.Join(lines, ",\n") + "\n}\n")
}

func viewName(v payload.View) string {
	var on []string
	for _, option := range []struct {
		name string
		on   bool
	}{
		{"customerContext", v.CustomerContext}, {"contactDetails", v.ContactDetails}, {"summaryPreview", v.SummaryPreview},
		{"billingDetails and feature", v.BillingDetails && v.Billing},
	} {
		if option.on {
			on = append(on, option.name)
		}
	}
	if on == nil {
		return "all off"
	}
	return strings.Join(on, ", ")
}

func TestGoldenFilesAreOfKnownTypes(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.golden.json"))
	if err != nil || len(files) != len(event.AllTypes()) {
		t.Errorf("%d golden files for %d types, %v", len(files), len(event.AllTypes()), err)
	}
}

func BenchmarkRender(b *testing.B) {
	e, v, c := event.Sample(event.VisitReportApproved, owner), payload.View{Options: payload.DefaultOptions()}, exampleContext()
	b.ReportAllocs()
	for b.Loop() {
		payload.Render(e, v, c)
	}
}
