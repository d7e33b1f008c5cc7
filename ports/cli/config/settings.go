package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"
)

// prefix begins the name of every variable.
const prefix = "ORDINAVO_"

// setting is one row of the table in contract section 6.
type setting struct {
	variable string
	// flag differs from the variable's name for emit alone.
	flag string
	// def is parsed like any other text; an empty one gives the zero value where the parser accepts it.
	def string
	// instead says what an empty default leads to, for the usage.
	instead string
	meaning string
	// client marks what emit needs and serve does not need.
	client bool
	set    func(c *Config, text string) error
}

// row makes a setting whose flag is the variable's name in kebab case.
func row[T any](variable, def, meaning string, field func(*Config) *T, parse func(string) (T, error)) setting {
	return setting{
		variable: variable,
		flag:     strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(variable, prefix)), "_", "-"),
		def:      def,
		meaning:  meaning,
		set: func(c *Config, text string) error {
			value, err := parse(text)
			if err == nil {
				*field(c) = value
			}
			return err
		},
	}
}

func (s setting) or(instead string) setting {
	s.instead = instead
	return s
}

func (s setting) forClient(flag, instead string) setting {
	s.client, s.flag, s.instead = true, flag, instead
	return s
}

// settings is the table. Load, the usage and the tests read it; there is no second list.
func settings() []setting { return append(serviceSettings(), clientSettings()...) }

func serviceSettings() []setting {
	return []setting{
		row("ORDINAVO_LISTEN", "127.0.0.1:8080", "address of API, metrics and docs; port 0 takes a free one",
			func(c *Config) *string { return &c.Listen }, parseListen),
		row("ORDINAVO_DATABASE_URL", "sqlite:data/ordinavo.db", "sqlite:path, or postgres://…; the folder is made",
			func(c *Config) *Database { return &c.Database }, parseDatabase),
		row("ORDINAVO_DATABASE_DIRECT_URL", "", "postgres://… of the server itself when the other is a PgBouncer's: for LISTEN and migrations",
			func(c *Config) *Secret { return &c.DirectURL }, parseDirectURL).or("the one of ORDINAVO_DATABASE_URL"),
		row("ORDINAVO_PLATFORM_KEY", "", "the first platform key, ord_live_…, with all scopes",
			func(c *Config) *Secret { return &c.PlatformKey }, parsePlatformKey).or("made, printed once to stderr"),
		row("ORDINAVO_MASTER_KEY", "", "seals secrets at rest: 32 bytes in base64; while it is rotated new,old; needed with PostgreSQL; a KMS URI is refused",
			func(c *Config) *Secret { return &c.MasterKey }, parseMasterKey).or("made in master.key beside the SQLite file"),
		row("ORDINAVO_ROLES", "api,router,dispatcher", "what this process does",
			func(c *Config) *Roles { return &c.Roles }, parseRoles),
		row("ORDINAVO_EGRESS_ALLOW", "", "networks (CIDR, comma-separated) that may be called although not public, and by plain http",
			func(c *Config) *[]netip.Prefix { return &c.Egress.Allow }, parseEgressAllow),
		row("ORDINAVO_EGRESS_PORTS", "80,443,1024-65535", "ports that may be called",
			func(c *Config) *[]PortRange { return &c.Egress.Ports }, parseEgressPorts),
		row("ORDINAVO_RETRY_SCHEDULE", "30s,2m,10m,30m,1h,3h,6h,12h,24h", "delays after failed attempts, the default of new subscriptions",
			func(c *Config) *[]time.Duration { return &c.RetrySchedule }, parseSchedule),
		row("ORDINAVO_MAX_IN_FLIGHT", "512", fmt.Sprintf("attempts at once in this process, 1 to %d", maxMaxInFlight),
			func(c *Config) *int { return &c.MaxInFlight }, whole(1, maxMaxInFlight)),
		row("ORDINAVO_RATE_LIMIT", "1000", "API requests a second and key, burst twice that; 0 is none",
			func(c *Config) *int { return &c.RateLimit }, whole(0, maxRateLimit)),
		row("ORDINAVO_TENANT_RATE_LIMIT", "", "API requests a second and tenant, over all its keys, burst twice that; 0 is none",
			func(c *Config) *int { return &c.Quotas.RateLimit }, parseTenantRate).or("twice the one of ORDINAVO_RATE_LIMIT"),
		row("ORDINAVO_TENANT_SUBSCRIPTIONS", "1000", fmt.Sprintf("subscriptions that a tenant may have, 1 to %d", maxSubscriptions),
			func(c *Config) *int { return &c.Quotas.Subscriptions }, whole(1, maxSubscriptions)),
		row("ORDINAVO_TENANT_EVENTS_PER_DAY", "0", "events of a tenant that are accepted on a day (UTC); 0 is no quota",
			func(c *Config) *int { return &c.Quotas.EventsPerDay }, whole(0, maxQuota)),
		row("ORDINAVO_TENANT_MAX_OPEN", "1000000", "how many unfinished deliveries a tenant may have before more of its events are refused (429); 0 is no bound",
			func(c *Config) *int { return &c.Quotas.Open }, whole(0, maxQuota)),
		row("ORDINAVO_MAX_OPEN", "5000000", "how many unfinished deliveries there may be before more events are refused (503); 0 is no bound",
			func(c *Config) *int { return &c.MaxOpen }, whole(0, maxQuota)),
		row("ORDINAVO_MAX_FANOUT_LAG", "5m", "how long the oldest accepted event may wait for its deliveries to be scheduled before more are refused (503); 0 is no bound",
			func(c *Config) *time.Duration { return &c.MaxFanOutLag }, parseLag),
		row("ORDINAVO_RETENTION", "events=30d,attempts=30d,dead_letters=90d", "how long things are kept",
			func(c *Config) *Retention { return &c.Retention }, parseRetention),
		row("ORDINAVO_SHUTDOWN_DELAY", "0s", "how long serve goes on after SIGTERM with /readyz at 503, so that load balancers notice, before it drains",
			func(c *Config) *time.Duration { return &c.ShutdownDelay }, parseShutdownDelay),
		row("ORDINAVO_SHUTDOWN_TIMEOUT", "30s", "how long draining may take",
			func(c *Config) *time.Duration { return &c.ShutdownTimeout }, parseShutdownTimeout),
		row("ORDINAVO_LOG_LEVEL", "info", "debug, info, warn or error",
			func(c *Config) *slog.Level { return &c.LogLevel }, parseLogLevel),
		row("ORDINAVO_AUTO_MIGRATE", "true", "serve migrates up by itself",
			func(c *Config) *bool { return &c.AutoMigrate }, parseBool),
	}
}

// clientSettings are those of emit.
func clientSettings() []setting {
	return []setting{
		row("ORDINAVO_URL", "", "address of the running service",
			func(c *Config) *string { return &c.Client.URL }, parseServiceURL).forClient("url", "the one of ORDINAVO_LISTEN"),
		row("ORDINAVO_TOKEN", "", "API key to send",
			func(c *Config) *Secret { return &c.Client.Key }, parseToken).forClient("key", "the one of ORDINAVO_PLATFORM_KEY"),
	}
}

// Usage is the table for humans: each flag and variable, its default and meaning. With forClient it is
// the settings of emit, else those of the service.
func Usage(forClient bool) string {
	var text strings.Builder
	for _, s := range settings() {
		if s.client != forClient {
			continue
		}
		shown := s.def
		if shown == "" {
			shown = s.instead
		}
		if shown == "" {
			shown = "empty"
		}
		fmt.Fprintf(&text, "  --%s, %s\n        %s (default: %s)\n", s.flag, s.variable, s.meaning, shown)
	}
	return text.String()
}
