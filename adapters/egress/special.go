package egress

import "net/netip"

// globalUnicast is everything that IANA has assigned for global IPv6 unicast (RFC 4291, section 2.4). Anything outside it,
// such as loopback, mapped, compatible, NAT64, unique local, link-local, site-local and multicast, is never public.
var globalUnicast = netip.MustParsePrefix("2000::/3")

// special lists the rest of what is not public: the IANA special-purpose address registries for IPv4 and IPv6, whole,
// including their few globally reachable entries, since none of them hosts a receiver; and multicast and reserved space.
var special = prefixes(
	"0.0.0.0/8",         // this network, RFC 791
	"10.0.0.0/8",        // private use, RFC 1918
	"100.64.0.0/10",     // shared address space of carriers (CGNAT), RFC 6598
	"127.0.0.0/8",       // loopback, RFC 1122
	"169.254.0.0/16",    // link-local, RFC 3927
	"172.16.0.0/12",     // private use, RFC 1918
	"192.0.0.0/24",      // IETF protocol assignments, RFC 6890
	"192.0.2.0/24",      // documentation, RFC 5737
	"192.31.196.0/24",   // AS112, RFC 7535
	"192.52.193.0/24",   // AMT, RFC 7450
	"192.88.99.0/24",    // 6to4 relay anycast, RFC 7526
	"192.168.0.0/16",    // private use, RFC 1918
	"192.175.48.0/24",   // AS112, RFC 7534
	"198.18.0.0/15",     // benchmarking, RFC 2544
	"198.51.100.0/24",   // documentation, RFC 5737
	"203.0.113.0/24",    // documentation, RFC 5737
	"224.0.0.0/4",       // multicast, RFC 5771
	"240.0.0.0/4",       // reserved, and limited broadcast, RFC 1112
	"2001::/23",         // IETF protocol assignments with Teredo, ORCHID and benchmarking, RFC 2928
	"2001:db8::/32",     // documentation, RFC 3849
	"2002::/16",         // 6to4, RFC 3056
	"2620:4f:8000::/48", // AS112, RFC 7534
	"3fff::/20",         // documentation, RFC 9637
)

// metadata lists the addresses at which clouds give credentials to anybody who asks. An allowed network that merely
// contains one does not open it.
var metadata = addresses(
	"169.254.169.254",    // AWS, Azure, Google, Oracle, DigitalOcean and others
	"169.254.170.2",      // AWS ECS task credentials
	"169.254.170.23",     // AWS EKS pod identity
	"169.254.0.23",       // Tencent
	"169.254.42.42",      // Scaleway
	"100.100.100.200",    // Alibaba
	"168.63.129.16",      // Azure's host agent, a public address
	"192.0.0.192",        // Oracle classic
	"fd00:ec2::254",      // AWS
	"fd00:ec2::23",       // AWS EKS pod identity
	"fd20:ce::254",       // Google
	"fd00:42::42",        // Scaleway
	"fd00:c1::a9fe:a9fe", // Oracle
	"fd00:100::100:200",  // Alibaba
	"fd00:a9fe:a9fe::1",  // Akamai
	"fe80::a9fe:a9fe",    // OpenStack
)

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")      // RFC 791
	nat64Local  = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215
	compatible  = netip.MustParsePrefix("::/96")          // RFC 4291, section 2.5.5.1
	nat64       = netip.MustParsePrefix("64:ff9b::/96")   // RFC 6052
	sixToFour   = netip.MustParsePrefix("2002::/16")      // RFC 3056
	teredo      = netip.MustParsePrefix("2001::/32")      // RFC 4380
)

// public reports whether the address belongs to a host of the open internet.
func public(addr netip.Addr) bool {
	if addr.Is6() && !globalUnicast.Contains(addr) {
		return false
	}
	return !within(special, addr) && !metadata[addr]
}

// embedded returns the IPv4 addresses at which packets to a transition address may end up; none for any other address. bits
// is the length of the network that the operator allowed around it.
func embedded(addr netip.Addr, bits int) []netip.Addr {
	raw := addr.As16()
	switch {
	case !addr.Is6():
		return nil
	case sixToFour.Contains(addr):
		return []netip.Addr{netip.AddrFrom4([4]byte(raw[2:6]))}
	case teredo.Contains(addr):
		return []netip.Addr{netip.AddrFrom4([4]byte{^raw[12], ^raw[13], ^raw[14], ^raw[15]})}
	case nat64.Contains(addr), compatible.Contains(addr) && addr != netip.IPv6Loopback():
		return []netip.Addr{netip.AddrFrom4([4]byte(raw[12:]))}
	case nat64Local.Contains(addr):
		return translated(raw, bits)
	}
	return nil
}

// translated returns what a translator of the operator's own would make of an address, for each length that its prefix may
// have within the allowed network (RFC 6052, section 2.2). Zeros are not an address but what another length leaves there.
func translated(raw [16]byte, bits int) []netip.Addr {
	var found []netip.Addr
	for _, at := range []struct {
		length int
		inner  [4]byte
	}{
		{48, [4]byte{raw[6], raw[7], raw[9], raw[10]}},
		{56, [4]byte{raw[7], raw[9], raw[10], raw[11]}},
		{64, [4]byte(raw[9:13])},
		{96, [4]byte(raw[12:])},
	} {
		inner := netip.AddrFrom4(at.inner)
		if (at.length >= bits || at.length == 96) && !thisNetwork.Contains(inner) {
			found = append(found, inner)
		}
	}
	if len(found) == 0 {
		return []netip.Addr{netip.IPv4Unspecified()}
	}
	return found
}

func within(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, prefix := range prefixes {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

func addresses(texts ...string) map[netip.Addr]bool {
	set := make(map[netip.Addr]bool, len(texts))
	for _, text := range texts {
		set[netip.MustParseAddr(text)] = true
	}
	return set
}
