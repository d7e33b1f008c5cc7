package telemetry

import (
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// endpoints are the variables with a collector's address.
var endpoints = []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"}

// largestNumber is the most that wholeNumber believes: of spans they would be 2 GB, of milliseconds a quarter of an hour.
const largestNumber = 1_000_000

// wholeNumber is what a variable says, from 1 to largestNumber. Anything else counts as not given, with a warning, as OpenTelemetry's
// specification of variables asks: its SDK ends the process at a queue of less than nothing, and takes a core to wait for no time.
func wholeNumber(log *slog.Logger, variable string, otherwise int) int {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 1 || n > largestNumber {
		log.Warn(fmt.Sprintf("%s is not a number from 1 to %d and counts as not given", variable, largestNumber), "instead", otherwise)
		return otherwise
	}
	return n
}

// warnOfEndpoints names the variables whose collector cannot be reached as they are: the exporters' own errors do not. They do not end the
// start, since no trouble with telemetry may keep deliveries waiting.
func warnOfEndpoints(log *slog.Logger) {
	for _, variable := range endpoints {
		address := strings.TrimSpace(os.Getenv(variable))
		if address == "" {
			continue
		}
		at, err := url.Parse(address)
		if err != nil || at.Scheme != "unix" && (at.Scheme != "http" && at.Scheme != "https" || at.Host == "") {
			log.Warn(variable + " is not an http:// or https:// address with a host, by gRPC either: telemetry does not get there")
		}
	}
}

// pathless leaves out of a text what stands behind the host in the collectors' addresses, where some providers have a key.
func pathless(text string) string {
	for _, variable := range endpoints {
		at, err := url.Parse(strings.TrimSpace(os.Getenv(variable)))
		if err != nil {
			continue
		}
		sent := url.URL{Path: at.Path} // escaped no more than it has to be
		for _, path := range []string{at.EscapedPath(), sent.EscapedPath(), at.Path} {
			if path = strings.Trim(path, "/"); path != "" && path != "v1/traces" && path != "v1/metrics" {
				text = strings.ReplaceAll(text, path, "…")
			}
		}
		if at.RawQuery != "" {
			text = strings.ReplaceAll(text, at.RawQuery, "…")
		}
	}
	return text
}
