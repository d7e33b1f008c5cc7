package egress

import (
	"fmt"
	"io"
	"net/http"
	"testing"
)

// BenchmarkSend is one attempt over a kept connection, the receiver's part in it.
func BenchmarkSend(b *testing.B) {
	server := serve(b, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	client, _ := newClient(b, Config{})
	request := post(server.URL)
	for i := range 11 {
		request.Headers[fmt.Sprintf("X-Ordinavo-Header-%d", i)] = "evt_01JZ2V7Q2F5N8R1T4W6Y9A3C7E"
	}
	b.ReportAllocs()
	for b.Loop() {
		if outcome := client.Send(b.Context(), request); !outcome.Succeeded() {
			b.Fatal(outcome.Error)
		}
	}
}
