package e2e_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// Contract, section 6: demo shows and checks; 0 when all was as it should be.
func TestDemo(t *testing.T) {
	t.Parallel()
	code, out, stderr := run(t, environment(t.TempDir()), "", "demo")
	if code != 0 {
		t.Fatalf("exit code %d: %s%s", code, out, stderr)
	}
	if ticks := strings.Count(out, "✓"); ticks < 15 {
		t.Errorf("%d ticks in\n%s", ticks, out)
	}
	for _, text := range []string{"X-Ordinavo-Signature", "webhook-signature", "1. ", "8. ", "Rhein-Ruhr Medical Supply", "feature", "dead letter", "killed", "attempt 2"} {
		if !strings.Contains(out, text) {
			t.Errorf("no %q in\n%s", text, out)
		}
	}
}

// … and 1 with the reason when it cannot be shown.
func TestDemoSaysWhatIsOff(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	code, out, stderr := run(t, environment(t.TempDir(), "TMPDIR="+missing), "", "demo")
	if code != 1 || !strings.Contains(stderr, missing) {
		t.Errorf("exit code %d: %s%s", code, out, stderr)
	}
}
