package compact

import (
	"testing"

	"github.com/ordinavo/webhooks/domain/event"
)

// BenchmarkPack packs what a delivery leaves; the sizes are the means of many.
func BenchmarkPack(b *testing.B) {
	for i, name := range []string{"event", "body", "scheduled", "failed", "succeeded again", "succeeded"} {
		b.Run(name, func(b *testing.B) {
			var samples []sample
			plain := 0
			for seed := range uint64(64) {
				s := newWorld(5000 + seed).ofEvent(event.VisitReportApproved)[i]
				samples, plain = append(samples, s), plain+len(s.content)
			}
			b.ReportAllocs()
			packed := 0
			for n := range b.N {
				s := samples[n%64]
				packed += len(Pack(s.kind, s.content, s.known...))
			}
			b.ReportMetric(float64(plain)/64, "plain-bytes")
			b.ReportMetric(float64(packed)/float64(b.N), "packed-bytes")
		})
	}
}

func BenchmarkUnpack(b *testing.B) {
	s := newWorld(5000).ofEvent(event.VisitReportApproved)[1]
	packed := Pack(s.kind, s.content, s.known...)
	b.ReportAllocs()
	for range b.N {
		if _, err := Unpack(packed, s.known...); err != nil {
			b.Fatal(err)
		}
	}
}
