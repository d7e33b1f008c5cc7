// Package config reads the settings of contract section 6 from flags and the environment. Everything that is wrong is reported at once, and
// secrets do not print.
package config

import (
	"log/slog"
	"net/netip"
	"time"
)

// Config is everything that can be set, checked. Load makes one.
type Config struct {
	// Listen is host:port of API, metrics and docs; port 0 takes a free one.
	Listen   string
	Database Database
	// DirectURL is that of PostgreSQL itself when Database.URL is a PgBouncer's; empty means that they are the same.
	DirectURL Secret
	// PlatformKey is the first platform key; empty means that one is made.
	PlatformKey Secret
	// MasterKey is 32 bytes in base64, or a KMS URI, which adapters/seal refuses; empty means that it lies beside the SQLite file.
	MasterKey Secret
	Roles     Roles
	Egress    Egress
	// RetrySchedule is the default of new subscriptions: 1 to 20 delays.
	RetrySchedule []time.Duration
	// MaxInFlight is how many attempts this process makes at once, 1 to 100,000.
	MaxInFlight int
	// RateLimit is API requests a second and key, 0 to 1,000,000; 0 is none.
	RateLimit int
	Quotas    Quotas
	// MaxOpen is how many unfinished deliveries there may be before more events are refused, 0 to 1,000,000,000; 0 is no bound.
	MaxOpen int
	// MaxFanOutLag is how long the oldest accepted event may wait for its deliveries to be scheduled, at most 24h; 0 is no bound.
	MaxFanOutLag time.Duration
	Retention    Retention
	// ShutdownDelay is how long the service goes on taking requests after it was told to stop, 0 to 5m.
	ShutdownDelay time.Duration
	// ShutdownTimeout is how long draining may take.
	ShutdownTimeout time.Duration
	LogLevel        slog.Level
	// AutoMigrate lets serve bring the schema up to date.
	AutoMigrate bool
	Client      Client
}

// Database says where the data is.
type Database struct {
	Kind DatabaseKind
	// Path is SQLite's file; empty for other kinds.
	Path string
	// URL is PostgreSQL's, with its password; empty for other kinds.
	URL Secret
}

// DatabaseKind is one of the databases that the service can keep its data in.
type DatabaseKind string

// The kinds of database.
const (
	SQLite     DatabaseKind = "sqlite"
	PostgreSQL DatabaseKind = "postgres"
)

// Roles is what this process does; at least one of them.
type Roles struct {
	API, Router, Dispatcher bool
}

// Egress bounds what may be called.
type Egress struct {
	// Allow lists networks that may be called although they are not public, and by plain http.
	Allow []netip.Prefix
	// Ports may be called; never empty.
	Ports []PortRange
}

// PortRange is the ports from First to Last, both included, each 1 to 65535.
type PortRange struct {
	First, Last uint16
}

// Retention is how long things are kept; each more than 0.
type Retention struct {
	Events, Attempts, DeadLetters time.Duration
}

// Quotas bound what a tenant takes, to leave room for the others; 0 is no quota, except for Subscriptions.
type Quotas struct {
	// RateLimit is API requests a second and tenant, over all its keys; 0 to 1,000,000.
	RateLimit int
	// Subscriptions is how many a tenant may have, 1 to 10,000.
	Subscriptions int
	// EventsPerDay is how many events of a tenant are accepted on one day (UTC), 0 to 1,000,000,000.
	EventsPerDay int
	// Open is how many unfinished deliveries a tenant may have before more of its events are refused, 0 to 1,000,000,000.
	Open int
}

// Client is what emit needs to talk to a running service.
type Client struct {
	// URL is the service's address; empty means the one of Listen.
	URL string
	// Key is the API key that emit sends.
	Key Secret
}

// Secret is a setting that must not show. String is for humans and logs; Reveal is the value.
type Secret struct {
	_     [0]func() // no ==: compare what Reveal gives
	value **string  // behind two pointers, since fmt follows one in fields where it may not call String
}

// NewSecret hides a value; the zero Secret hides the empty one.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	inner := &value
	return Secret{value: &inner}
}

// Reveal is the value; empty when it was not set.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return **s.value
}

// IsZero reports whether nothing was set.
func (s Secret) IsZero() bool { return s.value == nil }

const redacted = "***"

// String hides the value.
func (s Secret) String() string { return redacted }

// GoString hides the value from %#v.
func (s Secret) GoString() string { return redacted }

// LogValue hides the value from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the value from JSON and other encodings.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
