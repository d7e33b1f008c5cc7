package config_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/ports/cli/config"
)

var masterKey = base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))

func load(t *testing.T, args, environ []string) (config.Config, []string) {
	t.Helper()
	c, rest, err := config.Load(args, environ)
	if err != nil {
		t.Fatal(err)
	}
	return c, rest
}

func TestDefaultsAreTheContracts(t *testing.T) {
	got, rest := load(t, nil, []string{"HOME=/root", "OTEL_TRACES_EXPORTER=otlp"})
	day := 24 * time.Hour
	want := config.Config{
		Listen:   "127.0.0.1:8080",
		Database: config.Database{Kind: config.SQLite, Path: "data/ordinavo.db"},
		Roles:    config.Roles{API: true, Router: true, Dispatcher: true},
		Egress:   config.Egress{Ports: []config.PortRange{{First: 80, Last: 80}, {First: 443, Last: 443}, {First: 1024, Last: 65535}}},
		RetrySchedule: []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
			time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour},
		MaxInFlight: 512, RateLimit: 1000, Quotas: config.Quotas{RateLimit: 2000, Subscriptions: 1000, Open: 1_000_000}, MaxOpen: 5_000_000, MaxFanOutLag: 5 * time.Minute,
		Retention:       config.Retention{Events: 30 * day, Attempts: 30 * day, DeadLetters: 90 * day},
		ShutdownTimeout: 30 * time.Second, LogLevel: slog.LevelInfo, AutoMigrate: true,
	}
	if !reflect.DeepEqual(got, want) || len(rest) != 0 {
		t.Errorf("got %+v and %q\nwant %+v", got, rest, want)
	}
}

func TestATenantsRateFollowsAKeys(t *testing.T) {
	for key, want := range map[string]int{"0": 0, "5000": 10_000} {
		if got, _ := load(t, nil, []string{"ORDINAVO_RATE_LIMIT=" + key}); got.Quotas.RateLimit != want {
			t.Errorf("with %s for a key a tenant has %d", key, got.Quotas.RateLimit)
		}
	}
}

// Who sets how long attempts are kept keeps everything else for as long as before.
func TestWhatRetentionDoesNotNameStays(t *testing.T) {
	day := 24 * time.Hour
	if got, _ := load(t, nil, []string{"ORDINAVO_RETENTION=attempts=7d"}); got.Retention != (config.Retention{Events: 30 * day, Attempts: 7 * day, DeadLetters: 90 * day}) {
		t.Errorf("kept for %+v", got.Retention)
	}
}

func TestEverySettingArrives(t *testing.T) {
	environ := []string{
		"ORDINAVO_LISTEN=:0", "ORDINAVO_DATABASE_URL=postgres://me:hush@bouncer/ordinavo", "ORDINAVO_DATABASE_DIRECT_URL=postgres://me:hush@db/ordinavo",
		"ORDINAVO_PLATFORM_KEY=ord_live_01234567890",
		"ORDINAVO_MASTER_KEY= " + masterKey + "\n", "ORDINAVO_ROLES=api, dispatcher", "ORDINAVO_EGRESS_ALLOW=127.0.0.0/8,::1/128",
		"ORDINAVO_EGRESS_PORTS=443,8000-9000", "ORDINAVO_RETRY_SCHEDULE=50ms,72h", "ORDINAVO_MAX_IN_FLIGHT=100000", "ORDINAVO_RATE_LIMIT=0",
		"ORDINAVO_TENANT_RATE_LIMIT=50", "ORDINAVO_TENANT_SUBSCRIPTIONS=10000", "ORDINAVO_TENANT_EVENTS_PER_DAY=7",
		"ORDINAVO_TENANT_MAX_OPEN=8", "ORDINAVO_MAX_OPEN=9", "ORDINAVO_MAX_FANOUT_LAG=10s",
		"ORDINAVO_RETENTION=events=7d,dead_letters=36h", "ORDINAVO_SHUTDOWN_DELAY=10s", "ORDINAVO_SHUTDOWN_TIMEOUT=5s", "ORDINAVO_LOG_LEVEL=DEBUG", "ORDINAVO_AUTO_MIGRATE=false",
		"ORDINAVO_URL=https://hooks.example.com/", "ORDINAVO_TOKEN=ord_live_client", "ORDINAVO_TEST_DATABASE_URL=postgres://tests",
	}
	got, _ := load(t, nil, environ)
	day := 24 * time.Hour
	for what, ok := range map[string]bool{
		"listen":    got.Listen == ":0",
		"database":  got.Database.Kind == config.PostgreSQL && got.Database.URL.Reveal() == "postgres://me:hush@bouncer/ordinavo" && got.Database.Path == "",
		"direct":    got.DirectURL.Reveal() == "postgres://me:hush@db/ordinavo",
		"platform":  got.PlatformKey.Reveal() == "ord_live_01234567890",
		"master":    got.MasterKey.Reveal() == masterKey,
		"roles":     got.Roles == config.Roles{API: true, Dispatcher: true},
		"allow":     slices.Equal(got.Egress.Allow, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}),
		"ports":     slices.Equal(got.Egress.Ports, []config.PortRange{{First: 443, Last: 443}, {First: 8000, Last: 9000}}),
		"schedule":  slices.Equal(got.RetrySchedule, []time.Duration{50 * time.Millisecond, 72 * time.Hour}),
		"in flight": got.MaxInFlight == 100000,
		"rate":      got.RateLimit == 0,
		"quotas":    got.Quotas == config.Quotas{RateLimit: 50, Subscriptions: 10_000, EventsPerDay: 7, Open: 8},
		"backlog":   got.MaxOpen == 9 && got.MaxFanOutLag == 10*time.Second,
		"retention": got.Retention == config.Retention{Events: 7 * day, Attempts: 30 * day, DeadLetters: 36 * time.Hour},
		"shutdown":  got.ShutdownDelay == 10*time.Second && got.ShutdownTimeout == 5*time.Second,
		"level":     got.LogLevel == slog.LevelDebug,
		"migrate":   !got.AutoMigrate,
		"client":    got.Client.URL == "https://hooks.example.com" && got.Client.Key.Reveal() == "ord_live_client",
	} {
		if !ok {
			t.Errorf("%s did not arrive", what)
		}
	}
	if unset := zeroFields(reflect.ValueOf(got), ""); !slices.Equal(unset, []string{".Database.Path", ".Roles.Router", ".RateLimit", ".AutoMigrate"}) {
		t.Errorf("nothing sets %q", unset)
	}
}

// zeroFields finds the settings that have their zero value, so that a new field without a row in the table is noticed.
func zeroFields(v reflect.Value, path string) (zero []string) {
	if v.Kind() != reflect.Struct || v.Type() == reflect.TypeFor[config.Secret]() {
		if v.IsZero() {
			return []string{path}
		}
		return nil
	}
	for i := range v.NumField() {
		zero = append(zero, zeroFields(v.Field(i), path+"."+v.Type().Field(i).Name)...)
	}
	return zero
}

func TestFlagsWin(t *testing.T) {
	got, rest := load(t, []string{"events.json", "--listen=:1", "--max-in-flight", "7", "-", "--key", "k1", "--url=http://h:1", "--", "--listen"},
		[]string{"ORDINAVO_LISTEN=:2", "ORDINAVO_MAX_IN_FLIGHT=no number, but the flag wins"})
	if got.Listen != ":1" || got.MaxInFlight != 7 || got.Client.Key.Reveal() != "k1" || got.Client.URL != "http://h:1" {
		t.Errorf("got %+v", got)
	}
	if !slices.Equal(rest, []string{"events.json", "-", "--listen"}) {
		t.Errorf("rest is %q", rest)
	}
}

func TestAllThatIsWrongIsSaidAtOnce(t *testing.T) {
	_, _, err := config.Load([]string{"--lissten=:1", "-v", "--rate-limit", "--roles=api", "--roles=api", "--max-open"},
		[]string{"ORDINAVO_KEY=k", "ORDINAVO_MAX_INFLIGHT=3", "ORDINAVO_MAX_IN_FLIGHT=0", "ORDINAVO_LOG_LEVEL=loud", "ORDINAVO_XYZZY_PLUGH=1"})
	var wrong *config.Error
	if !errors.As(err, &wrong) {
		t.Fatalf("got %v", err)
	}
	want := []string{
		"ORDINAVO_KEY is not a setting: did you mean ORDINAVO_TOKEN?",
		"ORDINAVO_MAX_INFLIGHT is not a setting: did you mean ORDINAVO_MAX_IN_FLIGHT?",
		"ORDINAVO_XYZZY_PLUGH is not a setting",
		"--lissten is not a flag: did you mean --listen?",
		"-v is not a flag",
		"--rate-limit needs a value",
		"--roles is given twice",
		"--max-open needs a value",
		"ORDINAVO_MAX_IN_FLIGHT must be a whole number from 1 to 100000",
		"ORDINAVO_LOG_LEVEL must be debug, info, warn or error",
	}
	if !slices.Equal(wrong.Problems, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(wrong.Problems, "\n"), strings.Join(want, "\n"))
	}
	for _, problem := range want {
		if !strings.Contains(err.Error(), problem) {
			t.Errorf("the message lacks %q", problem)
		}
	}
}

func TestRefused(t *testing.T) {
	for variable, texts := range map[string][]string{
		"LISTEN":                {"8080", "localhost", ":99999", ":http", "a:b:c"},
		"DATABASE_URL":          {"mysql://h/d", "sqlite:", "data.db", "postgres:", "postgres:///ordinavo", "postgres:///ordinavo?host=", "sqlite:a.db?mode=ro", "sqlite::memory:", "sqlite://:memory:", "://"},
		"DATABASE_DIRECT_URL":   {"mysql://h/d", "sqlite:data.db", "db", "postgres:"},
		"PLATFORM_KEY":          {"secret", "ord_live_short", "ord_live_0123456789", "ord_live_" + strings.Repeat("x", 192), "ord_live_with a space in it", "ord_live_ümläut-and-more", "ord_test_0123456789abcdef"},
		"MASTER_KEY":            {"c2hvcnQ=", masterKey[:43], masterKey + "!", strings.Repeat("!", 44), masterKey + ",c2hvcnQ=", masterKey + ",kms://key", ",", masterKey + ",", "," + masterKey},
		"ROLES":                 {"apis", ",", "api,worker", "api,,router", "api,"},
		"EGRESS_ALLOW":          {"127.0.0.1", "10.0.0.0/33", "10.0.0.1/8", "localhost/8", "::ffff:10.0.0.0/104", "fe80::%eth0/64", "10.0.0.0/8,", ","},
		"EGRESS_PORTS":          {"0", "65536", "9-8", "http", "-1", "1-", "1-2-3", "80-65536", "65536-65535", "80;443", "0x50", ",", "80,,443", "80,"},
		"RETRY_SCHEDULE":        {",", "30", "0s", "-1s", "72h0m1s", "30s,soon", "1s,,2s", ",1s", "1s,", "1s, ,2s", "9999999999h", "1e3s", "1s" + strings.Repeat(",1s", 20)},
		"MAX_IN_FLIGHT":         {"0", "100001", "-1", "1.5", "many", "99999999999999999999"},
		"RATE_LIMIT":            {"-1", "1000001", "1e3"},
		"TENANT_RATE_LIMIT":     {"-1", "1000001"},
		"TENANT_SUBSCRIPTIONS":  {"0", "10001"},
		"TENANT_EVENTS_PER_DAY": {"-1", "1000000001"},
		"TENANT_MAX_OPEN":       {"-1", "many"},
		"MAX_OPEN":              {"-1", "1e6"},
		"MAX_FANOUT_LAG":        {"-1s", "25h", "5"},
		"RETENTION":             {"30d", "events=", "events=0d", "events=-1h", "events=1d,events=2d", "logs=1d", "events=1d12h", "events=3651d", "events=213504d", "events=9999999d", "events=99999999999999999999d", "events=5s", "events=30d,", "events=30d,,attempts=30d", "events=30", "events= 30d"},
		"SHUTDOWN_DELAY":        {"10", "-1s", "301s"},
		"SHUTDOWN_TIMEOUT":      {"30", "0s", "-1s", "2h"},
		"LOG_LEVEL":             {"verbose", "4"},
		"AUTO_MIGRATE":          {"yes", "2"},
		"URL":                   {"hooks.example.com", "ftp://h", "http://", "http://me:pw@h", "http://h/?q=1", "http://h/#f"},
	} {
		for _, text := range texts {
			t.Run(variable+"="+text, func(t *testing.T) {
				environ := []string{"ORDINAVO_" + variable + "=" + text}
				if variable == "DATABASE_DIRECT_URL" { // which a file has none of
					environ = append(environ, "ORDINAVO_DATABASE_URL=postgres://h/d", "ORDINAVO_MASTER_KEY="+masterKey)
				}
				_, _, err := config.Load(nil, environ)
				var wrong *config.Error
				if !errors.As(err, &wrong) || len(wrong.Problems) != 1 || !strings.HasPrefix(wrong.Problems[0], "ORDINAVO_"+variable+" ") {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

func TestTheBoundsThemselvesAreAllowed(t *testing.T) {
	for _, text := range []string{
		"PLATFORM_KEY=ord_live_" + strings.Repeat("~", 191), "MASTER_KEY=" + masterKey + "," + masterKey, "EGRESS_PORTS=1-65535", "RETRY_SCHEDULE=72h" + strings.Repeat(",1ns", 19),
		"MAX_IN_FLIGHT=1", "RATE_LIMIT=1000000", "TENANT_RATE_LIMIT=0", "TENANT_SUBSCRIPTIONS=1", "TENANT_EVENTS_PER_DAY=1000000000", "TENANT_MAX_OPEN=0", "MAX_OPEN=0",
		"MAX_FANOUT_LAG=0s", "MAX_FANOUT_LAG=24h", "RETENTION=events=1m,attempts=3650d", "SHUTDOWN_DELAY=0s", "SHUTDOWN_DELAY=5m", "SHUTDOWN_TIMEOUT=1h",
	} {
		if _, _, err := config.Load(nil, []string{"ORDINAVO_" + text}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Compose files and unit files set what they pass on, if only to nothing.
func TestAnEmptyVariableIsNotSet(t *testing.T) {
	var environ []string
	for _, found := range regexp.MustCompile(`ORDINAVO_[A-Z_]+\n`).FindAllString(config.Usage(false)+config.Usage(true), -1) {
		environ = append(environ, strings.TrimSuffix(found, "\n")+"=")
	}
	got, _ := load(t, nil, environ)
	if want, _ := load(t, nil, nil); len(environ) < 20 || !reflect.DeepEqual(got, want) {
		t.Errorf("with %q: got %+v", environ, got)
	}
}

// A list with a hole in it may lack what stood there, so it says where the hole is.
func TestAnEmptyPlaceInAListIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"ORDINAVO_RETRY_SCHEDULE=1s,,2s":         "ORDINAVO_RETRY_SCHEDULE has nothing in place 2 of 3",
		"ORDINAVO_EGRESS_PORTS=80, 443 , ":       "ORDINAVO_EGRESS_PORTS has nothing in place 3 of 3",
		"ORDINAVO_EGRESS_ALLOW=,127.0.0.0/8":     "ORDINAVO_EGRESS_ALLOW has nothing in place 1 of 2",
		"ORDINAVO_RETENTION=events=1d,,":         "ORDINAVO_RETENTION has nothing in place 2 of 3",
		"ORDINAVO_MASTER_KEY=" + masterKey + ",": "ORDINAVO_MASTER_KEY has nothing in place 2 of 2",
		"ORDINAVO_ROLES=api,,router":             "ORDINAVO_ROLES has nothing in place 2 of 3",
	} {
		if _, _, err := config.Load(nil, []string{text}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), masterKey) {
			t.Errorf("%s gives %v, want %s", text, err, want)
		}
	}
	for _, flag := range []string{"--roles=", "--retry-schedule=", "--egress-ports=", "--retention="} {
		if _, _, err := config.Load([]string{flag}, nil); err == nil || !strings.Contains(err.Error(), "must not be empty") {
			t.Errorf("%s gives %v", flag, err)
		}
	}
	if c, _ := load(t, []string{"--egress-allow=", "--master-key="}, nil); c.Egress.Allow != nil || !c.MasterKey.IsZero() {
		t.Errorf("got %+v", c)
	}
}

func TestADirectURLIsForPostgreSQL(t *testing.T) {
	if _, _, err := config.Load(nil, []string{"ORDINAVO_DATABASE_DIRECT_URL=postgres://db/ordinavo"}); err == nil || !strings.Contains(err.Error(), "names a file") {
		t.Errorf("got %v", err)
	}
}

func TestPostgreSQLsHostMayBeAParameter(t *testing.T) {
	for _, url := range []string{"postgres:///ordinavo?host=/run/postgresql", "postgres://me:hush@/ordinavo?host=/run/postgresql", "postgresql:///ordinavo?host=::1,::2&port=5432,5433"} {
		if c, _ := load(t, []string{"--database-url", url, "--database-direct-url", url}, []string{"ORDINAVO_MASTER_KEY=" + masterKey}); c.Database.URL.Reveal() != url || c.DirectURL.Reveal() != url {
			t.Errorf("%s became %s and %s", url, c.Database.URL.Reveal(), c.DirectURL.Reveal())
		}
	}
}

func TestPostgreSQLNeedsAMasterKey(t *testing.T) {
	environ := []string{"ORDINAVO_DATABASE_URL=postgres://db/ordinavo"}
	if _, _, err := config.Load(nil, environ); err == nil || !strings.Contains(err.Error(), "ORDINAVO_MASTER_KEY") {
		t.Errorf("got %v", err)
	}
	load(t, nil, append(environ, "ORDINAVO_MASTER_KEY=gcp-kms://projects/p/key"))
}

// Who takes the README's key along to a server gives it to everybody.
func TestAKeyThatIsPublishedIsForOnesOwnMachine(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	published := regexp.MustCompile(`(?:ORDINAVO_PLATFORM_KEY|KEY)=(ord_live_\w+)`).FindAllStringSubmatch(string(readme), -1)
	if len(published) == 0 {
		t.Fatal("checked nothing: the README shows no key")
	}
	for _, found := range published {
		for listen, allowed := range map[string]bool{
			"127.0.0.1:8080": true, "127.1.2.3:0": true, "[::1]:8080": true, "localhost:8080": true,
			"0.0.0.0:8080": false, ":8080": false, "[::]:8080": false, "10.1.2.3:8080": false, "ordinavo.internal:8080": false,
		} {
			_, _, err := config.Load(nil, []string{"ORDINAVO_PLATFORM_KEY=" + found[1], "ORDINAVO_LISTEN=" + listen})
			if (err == nil) != allowed || err != nil && (!strings.Contains(err.Error(), "ORDINAVO_PLATFORM_KEY") || strings.Contains(err.Error(), found[1])) {
				t.Errorf("%s on %s: %v", found[1], listen, err)
			}
		}
	}
	if !strings.Contains(string(readme), "export ORDINAVO_PLATFORM_KEY=ord_live_$(openssl rand -hex 32)") {
		t.Error("the README makes no key for production")
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"-h"}, {"--listen", ":1", "--help"}} {
		if _, _, err := config.Load(args, nil); !errors.Is(err, config.ErrHelp) {
			t.Errorf("%q gives %v", args, err)
		}
	}
	if _, rest := load(t, []string{"--", "-h"}, nil); !slices.Equal(rest, []string{"-h"}) {
		t.Errorf("behind --, -h became %q", rest)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	c, _ := load(t, nil, []string{"ORDINAVO_DATABASE_URL=postgres://me:hushhush@db/ordinavo", "ORDINAVO_PLATFORM_KEY=ord_live_hushhushhush",
		"ORDINAVO_MASTER_KEY=kms://hushhush", "ORDINAVO_TOKEN=hushhush"})
	type nested struct{ inner config.Config }
	var printed strings.Builder
	for _, value := range []any{c, &c, nested{c}, c.MasterKey, &c.MasterKey} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			fmt.Fprintf(&printed, verb+"\n", value)
		}
		slog.New(slog.NewJSONHandler(&printed, nil)).Info("json", "config", value)
		slog.New(slog.NewTextHandler(&printed, nil)).Info("text", "config", value)
		if err := json.NewEncoder(&printed).Encode(value); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(printed.String(), "hushhush") {
		t.Errorf("a secret shows:\n%s", printed.String())
	}
	if !strings.Contains(printed.String(), "***") {
		t.Error("nothing stands for the secrets")
	}
}

func TestWrongSecretsAreNotQuoted(t *testing.T) {
	_, _, err := config.Load([]string{"--key"}, []string{"ORDINAVO_DATABASE_URL=postgres//me:hushhush@db", "ORDINAVO_PLATFORM_KEY=hushhush",
		"ORDINAVO_MASTER_KEY=hushhush", "ORDINAVO_TOKN=hushhush", "ORDINAVO_URL=http://me:hushhush@h"})
	if err == nil || strings.Contains(err.Error(), "hushhush") {
		t.Errorf("got %v", err)
	}
}

func TestUsageNamesEverySetting(t *testing.T) {
	service, client := config.Usage(false), config.Usage(true)
	for _, name := range []string{"listen", "database-url", "database-direct-url", "platform-key", "master-key", "roles", "egress-allow", "egress-ports", "retry-schedule",
		"max-in-flight", "rate-limit", "tenant-rate-limit", "tenant-subscriptions", "tenant-events-per-day", "tenant-max-open", "max-open", "max-fanout-lag", "retention", "shutdown-timeout", "log-level", "auto-migrate"} {
		variable := "ORDINAVO_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		if !strings.Contains(service, "--"+name+", "+variable+"\n") {
			t.Errorf("the usage lacks %s:\n%s", name, service)
		}
	}
	if want := "  --rate-limit, ORDINAVO_RATE_LIMIT\n        API requests a second and key, burst twice that; 0 is none (default: 1000)\n"; !strings.Contains(service, want) {
		t.Errorf("the usage lacks %q", want)
	}
	if strings.Contains(service, "--url") || !strings.Contains(client, "--url, ORDINAVO_URL\n") || !strings.Contains(client, "--key, ORDINAVO_TOKEN\n") {
		t.Errorf("emit's usage is %s", client)
	}
}

func FuzzScheduleAndRetention(f *testing.F) {
	for _, text := range []string{"30s,2m", "events=30d", "events=1d,attempts=2h,dead_letters=3d", "106752d", "events=106752d", "9223372036854775807ns", ",,", "=", "-1d"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if c, _, err := config.Load([]string{"--retry-schedule=" + text}, nil); err == nil {
			if len(c.RetrySchedule) < 1 || len(c.RetrySchedule) > 20 {
				t.Errorf("%q gives %d delays", text, len(c.RetrySchedule))
			}
			for _, delay := range c.RetrySchedule {
				if delay <= 0 || delay > 72*time.Hour {
					t.Errorf("%q has a delay of %v", text, delay)
				}
			}
		}
		if c, _, err := config.Load([]string{"--retention=" + text}, nil); err == nil {
			for _, period := range []time.Duration{c.Retention.Events, c.Retention.Attempts, c.Retention.DeadLetters} {
				if period < time.Minute || period > 3650*24*time.Hour {
					t.Errorf("%q keeps for %v", text, period)
				}
			}
		}
	})
}
