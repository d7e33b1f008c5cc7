package compact

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/klauspost/compress/huff0"
	"github.com/klauspost/compress/s2"

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
		code := code(t, Kind(kind), s2.MakeDict(built, nil))
		if err := os.WriteFile("dictionaries/"+name+".code", code, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes, its code %d", name, len(built), len(code))
	}
}

// code is the Huffman code of the blocks of samples, with each byte at least once.
func code(t *testing.T, kind Kind, d *s2.Dict) []byte {
	var blocks []byte
	for seed := uint64(1000); len(blocks) < huff0.BlockSizeMax/2; seed++ {
		for _, s := range newWorld(seed).all() {
			if s.kind == kind {
				blocks = append(blocks, d.Encode(nil, ready(s))...)
			}
		}
	}
	for b := range 256 {
		blocks = append(blocks, byte(b))
	}
	var coding huff0.Scratch
	if _, _, err := huff0.Compress1X(blocks[max(0, len(blocks)-huff0.BlockSizeMax):], &coding); err != nil {
		t.Fatal(err)
	}
	return coding.OutTable
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
