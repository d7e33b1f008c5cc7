package rest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/domain/problem"
)

func TestWholeNumbers(t *testing.T) {
	for text, want := range map[string]int64{
		"12": 12, "12.0": 12, "1.2e1": 12, "1.2E+1": 12, "120e-1": 12, "-12.00": -12, "0": 0, "-0": 0, "-0.0": 0, "0e5": 0, "0.0e-5": 0, "1e0000001": 10,
		"9007199254740991": maxNumber, "-9007199254740991": -maxNumber, "9007199254740991.0": maxNumber, "9.007199254740991e15": maxNumber,
		"4503599627370497.0": 4503599627370497, "0." + strings.Repeat("0", 90) + "1e91": 1,
	} {
		if got, ok := wholeNumber(text); !ok || got != want {
			t.Errorf("%s: %d, %t", text, got, ok)
		}
	}
	for _, text := range []string{
		"4503599627370497.5", "4503599627370496.5", "-4503599627370497.5", "9007199254740990.5", "9007199254740991.4", "12.00000000000000000000000000001", "1e-1", "12.5", "1.25e1",
		"9007199254740992", "9007199254740992.0", "9.007199254740992e15", "-9007199254740992", "9223372036854775808", "18446744073709551617.0", "1e19", "1e100", "1e101", "1e-101", "1e400",
		"1e-400", "1e999999999", "1e-999999999", "1e99999999999999999999", "0e999999999", "0." + strings.Repeat("0", 1<<20) + "1", "1." + strings.Repeat("0", 1<<20),
	} {
		if got, ok := wholeNumber(text); ok {
			t.Errorf("%.40s: %d", text, got)
		}
	}
}

// A reference that was rounded would show another record's data.
func TestAReferenceIsNotRounded(t *testing.T) {
	const body = `{"eventType":"visit_report.approved","occurredAt":"2026-06-18T16:40:00Z","customerId":4503599627370497.5,"visitReport":{"id":9007199254740990.5}}`
	fields := problem.Collect("")
	if _, _, err := decodeEvents([]byte(body), fields); err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(fieldsOf(fields.Err()))); !slices.Equal(got, []string{"customerId", "visitReport.id"}) {
		t.Errorf("refused are %v", got)
	}
}

// Whatever the spelling, it is exactly the number or refused.
func FuzzWholeNumber(f *testing.F) {
	for _, n := range []int64{0, 1, -12, 4503599627370497, maxNumber, -maxNumber, maxNumber + 1, 1<<63 - 1, -1 << 63} {
		f.Add(n, uint8(0), uint8(0))
		f.Add(n, uint8(3), uint8(5))
		f.Add(n, uint8(20), uint8(1))
	}
	f.Fuzz(func(t *testing.T, n int64, places, fraction uint8) {
		places, fraction = places%60, fraction%10
		inRange := n <= maxNumber && n >= -maxNumber
		digits, sign := strings.TrimPrefix(fmt.Sprint(n), "-"), ""
		if n < 0 {
			sign = "-"
		}
		zeros := strings.Repeat("0", int(places))
		padded := strings.Repeat("0", max(0, int(places)+1-len(digits))) + digits
		point := len(padded) - int(places)
		for _, text := range []string{
			fmt.Sprint(n), fmt.Sprintf("%d.0%s", n, zeros), fmt.Sprintf("%d%se-%d", n, zeros, places),
			fmt.Sprintf("%s%s.%s0e%d", sign, padded[:point], padded[point:], places),
		} {
			if got, ok := wholeNumber(text); ok != inRange || ok && got != n {
				t.Errorf("%s: %d, %t", text, got, ok)
			}
		}
		if text := fmt.Sprintf("%d.%s%d", n, zeros, fraction); fraction > 0 {
			if got, ok := wholeNumber(text); ok {
				t.Errorf("%s: %d", text, got)
			}
		}
	})
}
