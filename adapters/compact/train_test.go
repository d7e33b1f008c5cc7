package compact

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/ordinavo/webhooks/domain/event"
)

var train = flag.Bool("train", false, "write the newest dictionaries anew; only before they were ever released")

// TestTrain makes a dictionary for each kind of what samples have in common: go test ./adapters/compact -run TestTrain -train
func TestTrain(t *testing.T) {
	if !*train {
		t.Skip("only with -train")
	}
	for kind, at := range newest {
		name := dictionaries[at]
		built := history(Kind(kind))
		if err := os.WriteFile("dictionaries/"+name, built, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes", name, len(built))
	}
}

// history has what samples of different worlds share, each thing once, and at its end what is most frequent, whole: from
// there it is reached by the shortest offsets.
func history(kind Kind) (made []byte) {
	var elsewhere []byte
	for _, s := range newWorld(2000).all() {
		if s.kind == kind {
			elsewhere = append(elsewhere, ready(s)...)
		}
	}
	w := newWorld(1000)
	for _, s := range w.all() {
		for _, piece := range bytes.SplitAfter(ready(s), []byte(",")) {
			if s.kind == kind && bytes.Contains(elsewhere, piece) && !bytes.Contains(made, piece) {
				made = append(made, piece...)
			}
		}
	}
	for _, s := range w.ofEvent(event.VisitReportApproved) {
		if s.kind == kind {
			made = append(made, ready(s)...)
		}
	}
	return made
}

// ready is what is compressed of a sample.
func ready(s sample) []byte {
	tokens, _ := tokenize(nil, nil, s.content, s.known)
	return tokens
}
