package compact

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/ordinavo/webhooks/domain/event"
)

var train = flag.Bool("train", false, "write the newest dictionaries anew; only before they were ever released")

// TestTrain makes a dictionary for each kind of what samples have in common: go test ./adapters/compact -run TestTrain -train
func TestTrain(t *testing.T) {
	if !*train {
		t.Skip("only with -train")
	}
	for kind, name := range newest {
		var contents [][]byte
		for seed := range uint64(40) {
			for _, s := range newWorld(seed).all() {
				if s.kind == Kind(kind) {
					contents = append(contents, replace(nil, s.content, s.known))
				}
			}
		}
		built, err := zstd.BuildDict(zstd.BuildDictOptions{ID: uint32(kind + 1), Contents: contents, History: history(Kind(kind)), Offsets: [3]int{1, 4, 8}, Level: level})
		if err != nil {
			t.Fatal(err)
		}
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
			elsewhere = append(elsewhere, replace(nil, s.content, s.known)...)
		}
	}
	w := newWorld(1000)
	for _, s := range w.all() {
		for _, piece := range bytes.SplitAfter(replace(nil, s.content, s.known), []byte(",")) {
			if s.kind == kind && bytes.Contains(elsewhere, piece) && !bytes.Contains(made, piece) {
				made = append(made, piece...)
			}
		}
	}
	for _, s := range w.ofEvent(event.VisitReportApproved) {
		if s.kind == kind {
			made = append(made, replace(nil, s.content, s.known)...)
		}
	}
	return made
}
