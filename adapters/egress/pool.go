package egress

import (
	"encoding/hex"
	"errors"
	"net"
	"strconv"
	"strings"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// keySeparator stands in neither a hexadecimal number nor a host.
const keySeparator = "~"

// poolKey is the address under which the transport keeps a connection: its pool, for HTTP/1 and HTTP/2 alike, is keyed
// by the host of the request's URL, so the tenant goes into that host. The Host header and the server name of TLS are
// set apart from it. Hexadecimal keeps tenants apart whatever the transport does to a host's case or code points.
func poolKey(id tenant.ID, target endpoint) string {
	host := hex.EncodeToString([]byte(id)) + keySeparator + target.host
	return net.JoinHostPort(host, strconv.Itoa(int(target.port)))
}

// splitKey gives back what a dial needs of the key.
func splitKey(key string) (host string, port uint16, err error) {
	joined, portText, err := net.SplitHostPort(key)
	if err != nil {
		return "", 0, err
	}
	_, host, found := strings.Cut(joined, keySeparator)
	if port, err = parsePort(portText); err != nil || !found {
		return "", 0, errors.New("not a key of the pool")
	}
	return host, port, nil
}
