package config

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/ordinavo/webhooks/domain/spelling"
)

// maxTypos is how many bytes an unknown name may differ from a known one and still have it suggested.
const maxTypos = 4

// testPrefix begins variables that only tests read.
const testPrefix = prefix + "TEST_"

// Error is everything that is wrong with the settings.
type Error struct {
	Problems []string
}

func (e *Error) Error() string {
	return "the configuration is not valid:\n  - " + strings.Join(e.Problems, "\n  - ")
}

// ErrHelp says that -h or --help was among the flags: show the usage.
var ErrHelp = errors.New("help was asked for")

// given is a setting's text and where it came from, for messages.
type given struct {
	text, source string
}

// Load reads args (without the command's name) and environ, in the form of os.Environ. Flags may be given as --name=value or --name value;
// a flag wins over its variable. What is not a flag comes back as rest, in order; a single - and everything after -- count as rest. The
// error is ErrHelp or an *Error.
func Load(args, environ []string) (c Config, rest []string, err error) {
	if wantsHelp(args) {
		return Config{}, nil, ErrHelp
	}
	table := settings()
	var wrong Error
	texts := defaults(table)
	fromEnvironment(table, environ, texts, &wrong)
	rest = fromFlags(table, args, texts, &wrong)
	for _, s := range table {
		from := texts[s.variable]
		if err := s.set(&c, strings.TrimSpace(from.text)); err != nil {
			wrong.add("%s %s", from.source, err)
		}
	}
	if c.Quotas.RateLimit == byKeyRate {
		c.Quotas.RateLimit = 2 * c.RateLimit
	}
	wrong.Problems = append(wrong.Problems, c.conflicts()...)
	if len(wrong.Problems) > 0 {
		return Config{}, nil, &wrong
	}
	return c, rest, nil
}

func wantsHelp(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.Contains(args, "-h") || slices.Contains(args, "--help")
}

func (e *Error) add(format string, args ...any) {
	e.Problems = append(e.Problems, fmt.Sprintf(format, args...))
}

func defaults(table []setting) map[string]given {
	texts := make(map[string]given, len(table))
	for _, s := range table {
		texts[s.variable] = given{s.def, s.variable}
	}
	return texts
}

// fromEnvironment refuses what begins like a setting and is none. An empty variable counts as not set, as in most shells and container
// files.
func fromEnvironment(table []setting, environ []string, texts map[string]given, wrong *Error) {
	for _, entry := range environ {
		name, text, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, prefix) || strings.HasPrefix(name, testPrefix) {
			continue
		}
		if _, known := texts[name]; !known {
			wrong.add("%s is not a setting%s", name, suggestion(name, variables(table)))
			continue
		}
		if text != "" {
			texts[name] = given{text, name}
		}
	}
}

func fromFlags(table []setting, args []string, texts map[string]given, wrong *Error) (rest []string) {
	seen := map[string]bool{}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			return append(rest, args...)
		}
		if arg == "-" || !strings.HasPrefix(arg, "-") {
			rest = append(rest, arg)
			continue
		}
		name, text, hasText := strings.Cut(arg, "=")
		at := slices.IndexFunc(table, func(s setting) bool { return "--"+s.flag == name })
		if at < 0 {
			wrong.add("%s is not a flag%s", name, suggestion(name, flags(table)))
			continue
		}
		if !hasText {
			if len(args) == 0 || strings.HasPrefix(args[0], "--") {
				wrong.add("%s needs a value", name)
				continue
			}
			text, args = args[0], args[1:]
		}
		if seen[name] {
			wrong.add("%s is given twice", name)
		}
		seen[name] = true
		texts[table[at].variable] = given{text, name}
	}
	return rest
}

// conflicts is what is wrong with settings that are valid one by one.
func (c Config) conflicts() (problems []string) {
	if c.Database.Kind == PostgreSQL && c.MasterKey.IsZero() {
		problems = append(problems, "ORDINAVO_MASTER_KEY must be set with PostgreSQL: several processes share what it seals")
	}
	if c.Database.Kind != PostgreSQL && !c.DirectURL.IsZero() {
		problems = append(problems, "ORDINAVO_DATABASE_DIRECT_URL is for PostgreSQL: ORDINAVO_DATABASE_URL names a file")
	}
	if c.PlatformKey.Reveal() == publishedKey && !loopback(c.Listen) {
		problems = append(problems, "ORDINAVO_PLATFORM_KEY is the one of the README, which everybody knows: it is for a service that listens on 127.0.0.1; ord_live_$(openssl rand -hex 32) makes another")
	}
	return problems
}

// publishedKey is what the README shows for a service on one's own machine.
const publishedKey = "ord_live_choose_a_long_random_one"

// loopback reports whether an address is this machine's alone; no host stands for all addresses.
func loopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// meant is a name, and how one may spell it who knows it.
type meant struct{ name, spelling string }

// variables also has each as the flag is called: who knows --key may well set ORDINAVO_KEY.
func variables(table []setting) (known []meant) {
	for _, s := range table {
		known = append(known, meant{s.variable, s.variable}, meant{s.variable, prefix + strings.ReplaceAll(strings.ToUpper(s.flag), "-", "_")})
	}
	return known
}

func flags(table []setting) (known []meant) {
	for _, s := range table {
		known = append(known, meant{"--" + s.flag, "--" + s.flag})
	}
	return known
}

// suggestion gives the known name nearest to the given one, unless none is near.
func suggestion(name string, known []meant) string {
	best, least := "", 1+min(maxTypos, len(name)/3)
	for _, candidate := range known {
		if d := spelling.Distance(name, candidate.spelling); d < least {
			best, least = candidate.name, d
		}
	}
	if best == "" {
		return ""
	}
	return ": did you mean " + best + "?"
}
