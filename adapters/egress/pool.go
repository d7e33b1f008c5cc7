package egress

import (
	"encoding/hex"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// keySeparator occurs in neither a hexadecimal number nor a host.
const keySeparator = "~"

// http1Separator takes its place in the key of connections that are made for HTTP/1.1 alone; see tries.turnsToHTTP1.
const http1Separator = keySeparator + keySeparator

// poolKey is the address under which the transport keeps a connection: its pool, for HTTP/1 and HTTP/2 alike, is keyed
// by the host of the request's URL, so the tenant goes into that host. The Host header and the TLS server name are set
// separately. Hexadecimal keeps tenants apart whatever the transport does to a host's case or code points.
func poolKey(id tenant.ID, target endpoint) string {
	host := hex.EncodeToString([]byte(id)) + keySeparator + target.host
	return net.JoinHostPort(host, strconv.Itoa(int(target.port)))
}

// splitKey returns the part of the key that a dial needs.
func splitKey(key string) (host string, port uint16, err error) {
	joined, portText, err := net.SplitHostPort(key)
	if err != nil {
		return "", 0, err
	}
	_, host, found := strings.Cut(joined, keySeparator)
	host = strings.TrimPrefix(host, keySeparator)
	if port, err = parsePort(portText); err != nil || !found {
		return "", 0, errors.New("not a key of the pool")
	}
	return host, port, nil
}

// maxTargets bounds how many targets are kept, at most 5 KiB each.
const maxTargets = 2048

// target is where a tenant's request goes. Requests share it, so it must not be changed.
type target struct {
	url  *url.URL // with the pool's key as its host
	host string   // for the Host header
}

// overHTTP1 is the target's URL by connections of their own.
func (t target) overHTTP1() *url.URL {
	other := *t.url
	other.Host = strings.Replace(other.Host, keySeparator, http1Separator, 1)
	return &other
}

// targets caches what was called lately: the guard's verdict on a URL never changes.
type targets struct {
	mu    sync.RWMutex
	ready map[called]target
}

type called struct {
	tenant tenant.ID
	url    string
}

// find returns the target of the tenant's URL; errBlocked if the guard refuses it.
func (t *targets) find(guard *Guard, by called) (target, error) {
	t.mu.RLock()
	found, known := t.ready[by]
	t.mu.RUnlock()
	if known {
		return found, nil
	}
	parsed, err := guard.parse(by.url)
	if err != nil {
		return target{}, errBlocked
	}
	found = target{parsed.url, parsed.url.Host}
	found.url.Host = poolKey(by.tenant, parsed)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ready == nil || len(t.ready) >= maxTargets {
		t.ready = map[called]target{}
	}
	t.ready[by] = found
	return found, nil
}
