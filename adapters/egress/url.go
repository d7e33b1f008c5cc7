package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/ordinavo/webhooks/domain/subscription"
)

const maxHostLength = 253 // RFC 1035, section 2.3.4, without the final dot

// endpoint is a URL that passed the check. url.Host is canonical: the host in lower-case ASCII, and the port only if it
// is not the scheme's default.
type endpoint struct {
	url  *url.URL
	host string // without brackets
	port uint16
}

// CheckURL refuses a URL that may not be called and returns the others in canonical form, which is the form to store.
// CheckURL of a canonical URL returns it unchanged. Neither form may have more than subscription.MaxURLLength bytes. A host
// name is not resolved here, but at each dial. The error is a clause for the user that follows the field's name, like
// "must begin with https://".
func (g *Guard) CheckURL(raw string) (string, error) {
	target, err := g.parse(raw)
	if err != nil {
		return "", err
	}
	return target.url.String(), nil
}

func (g *Guard) parse(raw string) (endpoint, error) {
	if err := checkText(raw); err != nil {
		return endpoint{}, err
	}
	parsed, err := url.Parse(raw)
	if err != nil {
		return endpoint{}, errors.New("is not a valid URL")
	}
	if err := checkShape(parsed); err != nil {
		return endpoint{}, err
	}
	target := endpoint{url: parsed}
	if target.port, err = portOf(parsed); err != nil {
		return endpoint{}, err
	}
	if target.host, err = canonicalHost(parsed.Host, parsed.Hostname()); err != nil {
		return endpoint{}, err
	}
	if err := g.checkTarget(target); err != nil {
		return endpoint{}, err
	}
	parsed.Host = authority(parsed.Scheme, target.host, target.port)
	parsed.RawQuery = escapeQuery(parsed.RawQuery)
	if len(parsed.String()) > subscription.MaxURLLength {
		return endpoint{}, errTooLong
	}
	return target, nil
}

var errTooLong = fmt.Errorf("must not be longer than %d bytes", subscription.MaxURLLength)

// checkText refuses text that URL parsers disagree on.
func checkText(raw string) error {
	switch {
	case raw == "":
		return errors.New("must not be empty")
	case len(raw) > subscription.MaxURLLength:
		return errTooLong
	case !utf8.ValidString(raw):
		return errors.New("must be valid UTF-8")
	case strings.ContainsFunc(raw, ambiguous):
		return errors.New("must not contain spaces, backslashes, control or invisible characters")
	case strings.Contains(raw, "#"):
		return errors.New("must not have a fragment")
	}
	return nil
}

func ambiguous(r rune) bool {
	return r == '\\' || unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
}

func checkShape(parsed *url.URL) error {
	switch {
	case parsed.Scheme != "https" && parsed.Scheme != "http":
		return errors.New("must begin with https://")
	case parsed.User != nil:
		return errors.New("must not contain a user name or password")
	case parsed.Opaque != "" || parsed.Hostname() == "":
		return errors.New("must name a host")
	}
	return nil
}

func portOf(parsed *url.URL) (uint16, error) {
	text := parsed.Port()
	if text == "" {
		return defaultPort(parsed.Scheme), nil
	}
	port, err := parsePort(text)
	if err != nil {
		return 0, errors.New("must have a port from 1 to 65535")
	}
	return port, nil
}

func defaultPort(scheme string) uint16 {
	if scheme == "http" {
		return 80
	}
	return 443
}

// hostNames is idna.Lookup without its rule that no label has hyphens in both third and fourth place: names like
// qa--erp.example.com are in use, such as for previews of a site's branches.
var hostNames = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckHyphens(false))

// canonicalHost returns the one form of a host that is compared, stored, resolved and dialled.
func canonicalHost(bracketed, host string) (string, error) {
	if strings.HasPrefix(bracketed, "[") {
		return canonicalIPv6(host)
	}
	name, err := hostNames.ToASCII(host)
	if err != nil || len(name) > maxHostLength {
		return "", errors.New("must have a valid host name")
	}
	if strings.HasSuffix(name, ".") {
		return "", errors.New("must have a host without a dot at its end")
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, "-") != label {
			return "", errors.New("must have a valid host name")
		}
	}
	if isNumber(labels[len(labels)-1]) {
		return canonicalIPv4(host)
	}
	return name, nil
}

// isNumber reports whether a host that ends in this label is an IPv4 address in some notation, as C's inet_aton and
// the URL standard of browsers ("ends in a number") read it. No top-level domain is one.
func isNumber(label string) bool {
	digits, hex := strings.CutPrefix(label, "0x")
	if hex {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// canonicalIPv4 accepts only the dotted decimal form: octal, hexadecimal, short and single-number forms, and digits of
// other scripts, have no use but to get past a filter.
func canonicalIPv4(host string) (string, error) {
	addr, err := netip.ParseAddr(host)
	if err != nil || !addr.Is4() {
		return "", errors.New("must write an IPv4 address as four decimal numbers, like 198.51.100.7")
	}
	return addr.String(), nil
}

func canonicalIPv6(host string) (string, error) {
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil || !addr.Is6():
		return "", errors.New("must have a valid IPv6 address in the brackets")
	case addr.Zone() != "":
		return "", errors.New("must not have an IPv6 zone")
	case addr.Is4In6():
		return "", errors.New("must write an IPv4 address as four decimal numbers, like 198.51.100.7")
	}
	return addr.String(), nil
}

// checkTarget applies the operator's bounds as far as they can be known before the name is resolved.
func (g *Guard) checkTarget(target endpoint) error {
	if !g.ports.Contain(target.port) {
		return fmt.Errorf("must not use port %d", target.port)
	}
	plain := target.url.Scheme == "http"
	if plain && len(g.allow) == 0 {
		return errors.New("must begin with https://")
	}
	addr, err := netip.ParseAddr(target.host)
	switch {
	case err != nil && isLocalhost(target.host) && len(g.loopback()) == 0,
		err == nil && !g.permitAddr(addr, false):
		return errors.New("must have a public address, or one in a network that the operator allows")
	case err == nil && g.isOwn(netip.AddrPortFrom(addr, target.port)):
		return errors.New("must not lead to this service itself")
	case err == nil && !g.permitAddr(addr, plain):
		return errors.New("must begin with https://")
	}
	return nil
}

func authority(scheme, host string, port uint16) string {
	if port != defaultPort(scheme) {
		return net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// escapeQuery percent-encodes what is not allowed in a request line; url.Parse leaves the query as it was written.
func escapeQuery(query string) string {
	if !strings.ContainsFunc(query, needsEscape) {
		return query
	}
	var escaped strings.Builder
	for _, b := range []byte(query) {
		if needsEscape(rune(b)) {
			fmt.Fprintf(&escaped, "%%%02X", b)
		} else {
			escaped.WriteByte(b)
		}
	}
	return escaped.String()
}

func needsEscape(r rune) bool { return r >= utf8.RuneSelf || strings.ContainsRune("\"<>`", r) }

func parsePort(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%q is not a port from 1 to 65535", text)
	}
	return uint16(port), nil
}
