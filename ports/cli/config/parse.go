package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// Bounds of the settings (contract, section 6).
const (
	maxMaxInFlight     = 100_000
	maxRateLimit       = 1_000_000
	maxSubscriptions   = subscriptions.MaxPerTenant
	maxQuota           = 1_000_000_000
	maxLag             = day
	minRetention       = time.Minute
	maxRetention       = 10 * 365 * day
	maxShutdownDelay   = 5 * time.Minute
	maxShutdownTimeout = time.Hour
	masterKeySize      = 32 // bytes
	day                = 24 * time.Hour
)

func parseListen(text string) (string, error) {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return "", errors.New("must be host:port, like 127.0.0.1:8080 or :8080")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", errors.New("must end in a port from 0 to 65535")
	}
	return text, nil
}

// parseDatabase quotes nothing: the URL may hold a password.
func parseDatabase(text string) (Database, error) {
	if path, isSQLite := strings.CutPrefix(text, "sqlite:"); isSQLite {
		path = strings.TrimPrefix(path, "//")
		if path == "" || path == ":memory:" || strings.ContainsAny(path, "?#\x00") { // each connection would have a memory of its own
			return Database{}, errors.New("must name a file after sqlite:, without parameters")
		}
		return Database{Kind: SQLite, Path: path}, nil
	}
	if !isPostgres(text) {
		return Database{}, errors.New("must be sqlite:path/to/file or postgres://user@host/database")
	}
	return Database{Kind: PostgreSQL, URL: NewSecret(text)}, nil
}

func parseDirectURL(text string) (Secret, error) {
	if text != "" && !isPostgres(text) {
		return Secret{}, errors.New("must be postgres://user@host/database")
	}
	return NewSecret(text), nil
}

// isPostgres wants a host, which may be a parameter: that is how a URL names a socket's folder.
func isPostgres(text string) bool {
	address, err := url.Parse(text)
	return err == nil && (address.Scheme == "postgres" || address.Scheme == "postgresql") && (address.Host != "" || address.Query().Get("host") != "")
}

func parsePlatformKey(text string) (Secret, error) {
	odd := func(r rune) bool { return r <= ' ' || r > '~' } // such a character would not survive an Authorization header
	if text != "" && (!strings.HasPrefix(text, access.KeyPrefix) || len(text) < access.MinKeyLength || len(text) > access.MaxKeyLength || strings.ContainsFunc(text, odd)) {
		return Secret{}, fmt.Errorf("must begin with %s and have %d to %d characters, all of them ASCII without spaces", access.KeyPrefix, access.MinKeyLength, access.MaxKeyLength)
	}
	return NewSecret(text), nil
}

func parseToken(text string) (Secret, error) { return NewSecret(text), nil }

// parseMasterKey takes several keys while they are rotated, the newest first.
func parseMasterKey(text string) (Secret, error) {
	if text == "" {
		return NewSecret(text), nil
	}
	keys, err := split(text)
	if err != nil {
		return Secret{}, err
	}
	for _, part := range keys {
		isKMS := strings.Contains(part, "://")
		if key, err := base64.StdEncoding.Strict().DecodeString(part); isKMS && len(keys) > 1 || !isKMS && (err != nil || len(key) != masterKeySize) {
			return Secret{}, errors.New("must be 32 bytes in base64 (44 characters), or several of these separated by commas with the newest first")
		}
	}
	return NewSecret(text), nil
}

func parseRoles(text string) (Roles, error) {
	names, err := split(text)
	if err != nil {
		return Roles{}, err
	}
	var roles Roles
	for _, name := range names {
		switch name {
		case "api":
			roles.API = true
		case "router":
			roles.Router = true
		case "dispatcher":
			roles.Dispatcher = true
		default:
			return Roles{}, fmt.Errorf("has %q, which is none of api, router, dispatcher", name)
		}
	}
	return roles, nil
}

func parseEgressAllow(text string) ([]netip.Prefix, error) {
	if text == "" {
		return nil, nil
	}
	parts, err := split(text)
	if err != nil {
		return nil, err
	}
	var allowed []netip.Prefix
	for _, part := range parts {
		prefix, err := netip.ParsePrefix(part)
		if err != nil {
			return nil, fmt.Errorf("has %q, which is not a network like 127.0.0.0/8 or ::1/128", part)
		}
		if prefix.Addr().Is4In6() {
			return nil, fmt.Errorf("has %q, which opens nothing: write the IPv4 network itself", part)
		}
		if prefix != prefix.Masked() {
			return nil, fmt.Errorf("has %q, which has bits behind its mask: did you mean %s?", part, prefix.Masked())
		}
		allowed = append(allowed, prefix)
	}
	return allowed, nil
}

func parseEgressPorts(text string) ([]PortRange, error) {
	parts, err := split(text)
	if err != nil {
		return nil, err
	}
	var ranges []PortRange
	for _, part := range parts {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		low, errLow := strconv.ParseUint(first, 10, 16)
		high, errHigh := strconv.ParseUint(last, 10, 16)
		if errLow != nil || errHigh != nil || low == 0 || low > high {
			return nil, fmt.Errorf("has %q, which is neither a port from 1 to 65535 nor a range like 1024-65535", part)
		}
		ranges = append(ranges, PortRange{uint16(low), uint16(high)})
	}
	return ranges, nil
}

func parseSchedule(text string) ([]time.Duration, error) {
	parts, err := split(text)
	if err != nil {
		return nil, err
	}
	if len(parts) > subscription.MaxRetryDelays {
		return nil, fmt.Errorf("must have 1 to %d delays", subscription.MaxRetryDelays)
	}
	schedule := make([]time.Duration, 0, len(parts))
	for _, part := range parts {
		delay, err := time.ParseDuration(part)
		if err != nil {
			return nil, fmt.Errorf("has %q, which is not a duration like 30s or 2m", part)
		}
		if delay <= 0 || delay > subscription.MaxRetryDelay {
			return nil, fmt.Errorf("has %q: a delay is more than 0 and at most 72h", part)
		}
		schedule = append(schedule, delay)
	}
	return schedule, nil
}

// parseRetention overrides the defaults that the text names; the others stay.
func parseRetention(text string) (Retention, error) {
	kept := Retention{Events: 30 * day, Attempts: 30 * day, DeadLetters: 90 * day}
	named := map[string]*time.Duration{"events": &kept.Events, "attempts": &kept.Attempts, "dead_letters": &kept.DeadLetters}
	parts, err := split(text)
	if err != nil {
		return Retention{}, err
	}
	for _, part := range parts {
		name, value, _ := strings.Cut(part, "=")
		into, known := named[name]
		if !known {
			return Retention{}, fmt.Errorf("has %q, which is none of events=…, attempts=…, dead_letters=… (each once)", part)
		}
		delete(named, name)
		period, err := ParsePeriod(value)
		if err != nil || period < minRetention || period > maxRetention {
			return Retention{}, fmt.Errorf("has %q: a period is like 30d or 36h, from 1m to 3650d", part)
		}
		*into = period
	}
	return kept, nil
}

// ParsePeriod takes whole days (30d) besides Go's durations.
func ParsePeriod(text string) (time.Duration, error) {
	days, isDays := strings.CutSuffix(text, "d")
	if !isDays {
		return time.ParseDuration(text)
	}
	count, err := strconv.ParseUint(days, 10, 32)
	if err != nil || count > math.MaxInt64/uint64(day) {
		return 0, fmt.Errorf("%q is not a number of days", text)
	}
	return time.Duration(count) * day, nil
}

func parseShutdownDelay(text string) (time.Duration, error) {
	delay, err := time.ParseDuration(text)
	if err != nil || delay < 0 || delay > maxShutdownDelay {
		return 0, errors.New("must be a duration from 0 to 5m, like 10s")
	}
	return delay, nil
}

func parseShutdownTimeout(text string) (time.Duration, error) {
	timeout, err := time.ParseDuration(text)
	if err != nil || timeout <= 0 || timeout > maxShutdownTimeout {
		return 0, errors.New("must be a duration of more than 0 and at most 1h, like 30s")
	}
	return timeout, nil
}

func parseLag(text string) (time.Duration, error) {
	lag, err := time.ParseDuration(text)
	if err != nil || lag < 0 || lag > maxLag {
		return 0, errors.New("must be a duration from 0 to 24h, like 5m")
	}
	return lag, nil
}

func parseLogLevel(text string) (slog.Level, error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, known := levels[strings.ToLower(text)]
	if !known {
		return 0, errors.New("must be debug, info, warn or error")
	}
	return level, nil
}

func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, errors.New("must be true or false")
}

func parseServiceURL(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	address, err := url.Parse(text)
	if err != nil || (address.Scheme != "http" && address.Scheme != "https") || address.Host == "" || address.User != nil ||
		address.RawQuery != "" || address.Fragment != "" {
		return "", errors.New("must be like http://127.0.0.1:8080")
	}
	return strings.TrimRight(text, "/"), nil
}

// whole makes a parser of whole numbers from low to high.
func whole(low, high int) func(string) (int, error) {
	return func(text string) (int, error) {
		number, err := strconv.Atoi(text)
		if err != nil || number < low || number > high {
			return 0, fmt.Errorf("must be a whole number from %d to %d", low, high)
		}
		return number, nil
	}
}

// byKeyRate stands for a tenant's rate that follows from that of a key.
const byKeyRate = -1

func parseTenantRate(text string) (int, error) {
	if text == "" {
		return byKeyRate, nil
	}
	return whole(0, maxRateLimit)(text)
}

// split cuts at commas; white space around the parts does not count. An empty part is refused: something may be missing there.
func split(text string) ([]string, error) {
	if text == "" {
		return nil, errors.New("must not be empty")
	}
	parts := strings.Split(text, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
		if parts[i] == "" {
			return nil, fmt.Errorf("has nothing in place %d of %d: leave out the comma, or write what is missing", i+1, len(parts))
		}
	}
	return parts, nil
}
