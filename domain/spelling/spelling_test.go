package spelling_test

import (
	"testing"

	"github.com/ordinavo/webhooks/domain/spelling"
)

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"listen", "listen", 0}, {"", "listen", 6}, {"lisen", "listen", 1}, {"listen", "lisen", 1}, {"lixten", "listen", 1},
		{"--master-kye", "--master-key", 2}, {"kitten", "sitting", 3},
	} {
		if got := spelling.Distance(c.a, c.b); got != c.want {
			t.Errorf("%q and %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
