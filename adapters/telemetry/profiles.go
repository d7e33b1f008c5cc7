//go:build pprof

package telemetry

import (
	"log/slog"
	"net"
	"net/http"
	_ "net/http/pprof" // serves the profiles
	"os"
)

// A build with the tag pprof serves profiles on PPROF_LISTEN, and logs the address; see docs/performance.md.
func init() {
	address := os.Getenv("PPROF_LISTEN")
	if address == "" {
		return
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		slog.Error("no profiles", "error", err)
		return
	}
	slog.New(slog.NewJSONHandler(os.Stderr, nil)).Info("profiles", "address", listener.Addr().String())
	go func() { _ = http.Serve(listener, nil) }()
}
