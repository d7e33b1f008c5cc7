package telemetry_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A step that takes half a minute to fail fails less often than one in ten seconds, and an hour that cannot be reconciled is tried every five
// minutes: nobody heard of either. A database that was away for some minutes is not told of for hours.
func TestALoopThatSeldomFailsIsToldOf(t *testing.T) {
	rules, err := os.ReadFile("../../deploy/prometheus-alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	const seldom = 5 * time.Minute // between two failures
	told := 0
	asked := regexp.MustCompile(`expr: .*rate\(ordinavo_loop_failures_total\[(\w+)\]\)\) > ([\d.]+)\n +for: (\w+)`).FindAllStringSubmatch(string(rules), -1)
	for _, alert := range asked {
		window, errWindow := time.ParseDuration(alert[1])
		bound, errBound := strconv.ParseFloat(alert[2], 64)
		lasts, errLasts := time.ParseDuration(alert[3])
		if errWindow != nil || errBound != nil || errLasts != nil {
			t.Fatalf("%q is not understood", alert[0])
		}
		if window >= 2*seldom && bound < 1/seldom.Seconds() {
			told++
			if lasts < 2*window {
				t.Errorf("what failed for a moment is told of, too: %q", alert[0])
			}
		}
	}
	if len(asked) < 2 || told == 0 {
		t.Errorf("of %d alerts none tells of it", len(asked))
	}
}

// A quantile is a guess within its bucket: an alert that asks for a bound inside one fires by what is below it. Six seconds late were told of
// as more than seventeen.
func TestAlertsAskForBoundsOfBuckets(t *testing.T) {
	rules, err := os.ReadFile("../../deploy/prometheus-alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	shown := everythingCounted(t)
	asked := regexp.MustCompile(`histogram_quantile\([\d.]+, [^>]*\b(ordinavo_\w+_bucket)[^>]*> ([\d.]+)`).FindAllStringSubmatch(string(rules), -1)
	for _, quantile := range asked {
		if !strings.Contains(shown, "\n"+quantile[1]+`{le="`+quantile[2]+`"}`) {
			t.Errorf("%s has no bucket that ends at %s", quantile[1], quantile[2])
		}
	}
	if len(asked) == 0 {
		t.Error("none is asked for")
	}
}
