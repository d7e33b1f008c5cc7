package egress

import (
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/domain/subscription"
)

// refused holds URLs that a client with the default configuration must not take, by class.
var refused = map[string][]string{
	"scheme": {
		"", "example.com", "//example.com/", "/hook", "http://example.com/", "http://8.8.8.8/", "ftp://example.com/",
		"file:///etc/passwd", "gopher://example.com/", "javascript:alert(1)", "https:example.com", "unix:///run/docker.sock",
		"data:text/plain,x", "httpss://example.com/", "ws://example.com/",
	},
	"host missing": {"https://", "https:///hook", "https://:443/", "https://?q", "https:/example.com/"},
	"user info": {
		"https://user@example.com/", "https://user:pass@example.com/", "https://@example.com/",
		"https://example.com@127.0.0.1/", "https://8.8.8.8:443@169.254.169.254/", "https://a:b@c:d@example.com/",
	},
	"fragment": {"https://example.com/#a", "https://example.com/#", "https://example.com#@10.0.0.1/"},
	"port": {
		"https://example.com:0/", "https://example.com:22/", "https://example.com:25/", "https://example.com:81/",
		"https://example.com:1023/", "https://example.com:65536/", "https://example.com:99999999999/",
		"https://example.com:-1/", "https://example.com:+443/", "https://example.com:https/", "https://8.8.8.8:6000000/",
	},
	"text": {
		"https://example.com/\n", "https://example.com/\r\nX: y", "https://example.com/a b", " https://example.com/",
		"https://example.com/\x00", "https://example.com\t/", "https://exa\u00a0mple.com/", "https://example.com/\u2028",
		"https://example.com/\x7f", "https://example.com/\u0085", "https://example.com\\@10.0.0.1/", "https:\\\\10.0.0.1\\",
		"https://example.com/\xff", "https://example.com/%zz", "https://%31%32%37.0.0.1/", "https://exa%00mple.com/",
	},
	"IPv4, special": {
		"https://0.0.0.0/", "https://0.1.2.3/", "https://10.0.0.1/", "https://10.255.255.255/", "https://100.64.0.1/",
		"https://100.127.255.255/", "https://127.0.0.1/", "https://127.255.255.254/", "https://169.254.0.1/",
		"https://172.16.0.1/", "https://172.31.255.255/", "https://192.0.0.8/", "https://192.0.2.1/", "https://192.31.196.1/",
		"https://192.52.193.1/", "https://192.88.99.1/", "https://192.168.1.1/", "https://192.175.48.1/", "https://198.18.0.1/",
		"https://198.19.255.255/", "https://198.51.100.1/", "https://203.0.113.1/", "https://224.0.0.1/",
		"https://239.255.255.255/", "https://240.0.0.1/", "https://255.255.255.255/",
	},
	"IPv4, other notations": {
		"https://0x7f.1/", "https://0x7f.0x0.0x0.0x1/", "https://0x7f000001/", "https://0X7F000001/", "https://2130706433/",
		"https://017700000001/", "https://0177.0.0.1/", "https://0177.0.0.01/", "https://127.1/", "https://127.0.1/",
		"https://127.0.0.1./", "https://127.0.0.01/", "https://00127.0.0.1/", "https://1.2.3.4.5/", "https://256.256.256.256/",
		"https://4294967296/", "https://0/", "https://0x/", "https://0x0/", "https://127.0.0.0x1/", "https://127.0x0.1/",
		"https://example.1/", "https://134744072/", "https://10.0.0.1.5/", "https://127..0.1/", "https://0300.0250.0.1/",
		"https://0xa9fea9fe/", "https://2852039166/",
	},
	"IPv4, Unicode": {
		"https://１２７.０.０.１/", "https://127。0。0。1/", "https://127．0．0．1/", "https://①②⑦.⓪.⓪.①/", "https://１２７.1/",
		"https://𝟏𝟐𝟕.𝟎.𝟎.𝟏/", "https://０ｘ７ｆ.１/", "https://٨.٨.٨.٨/", "https://８.８.８.８/", "https://169｡254｡169｡254/",
		"https://¹²⁷.0.0.1/",
	},
	"IPv6, special": {
		"https://[::]/", "https://[::1]/", "https://[0:0:0:0:0:0:0:1]/", "https://[100::1]/", "https://[100:0:0:1::1]/",
		"https://[2001::1]/", "https://[2001:2::1]/", "https://[2001:10::1]/", "https://[2001:20::1]/", "https://[2001:db8::1]/",
		"https://[2620:4f:8000::1]/", "https://[3fff::1]/", "https://[5f00::1]/", "https://[fc00::1]/", "https://[fdff::1]/",
		"https://[fe80::1]/", "https://[febf::1]/", "https://[fec0::1]/", "https://[feff::1]/", "https://[ff02::1]/",
		"https://[4000::1]/", "https://[200::1]/", "https://[::1/", "https://[]/", "https://[1::2::3]/", "https://[127.0.0.1]/",
		"https://[example.com]/", "https://::1/",
	},
	"IPv6, zones": {
		"https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[2606:4700::1%25lo]/", "https://[::1%25]/",
	},
	"IPv6, an IPv4 address within": {
		"https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[::ffff:8.8.8.8]/", "https://[0:0:0:0:0:ffff:a00:1]/",
		"https://[::127.0.0.1]/", "https://[::7f00:1]/", "https://[::8.8.8.8]/", "https://[::ffff:0:127.0.0.1]/",
		"https://[64:ff9b::127.0.0.1]/", "https://[64:ff9b::a9fe:a9fe]/", "https://[64:ff9b::8.8.8.8]/",
		"https://[64:ff9b:1::1]/", "https://[64:ff9b:1:ffff::10.0.0.1]/", "https://[2002:7f00:1::]/", "https://[2002:a9fe:a9fe::1]/",
		"https://[2002:808:808::1]/", "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", "https://[2001:0:0:0:0:0:80ff:fffe]/",
	},
	"cloud metadata": {
		"https://169.254.169.254/latest/meta-data/", "https://169.254.170.2/", "https://100.100.100.200/",
		"https://168.63.129.16/", "https://192.0.0.192/", "https://[fd00:ec2::254]/", "https://[fd20:ce::254]/",
		"https://[fd00:ec2:0:0:0:0:0:254]/",
	},
	"names": {
		"https://localhost/", "https://LOCALHOST/", "https://localhost./", "https://api.localhost/", "https://ⓛocalhost/",
		"https://example.com./", "https://example.com。/", "https://example..com/", "https://.example.com/", "https://./",
		"https://-example.com/", "https://example-.com/", "https://-/", "https://exa_mple.com/", "https://xn--a/", "https://exam\u200bple.com/", "https://a\u202eb.com/",
		"https://" + strings.Repeat("a", 64) + ".com/", "https://" + strings.Repeat("a.", 127) + "com/", "https://ex*mple.com/",
		"https://example.com,10.0.0.1/", "https://a~b/", "https://example.com:443:443/", "https://%e2%91%a0/",
	},
	"length": {
		"https://example.com/" + strings.Repeat("a", 2029), "https://example.com/?" + strings.Repeat("ä", 700),
	},
}

func TestCheckURLRefuses(t *testing.T) {
	guard, count := NewGuard(nil, nil), 0
	for class, urls := range refused {
		for _, raw := range urls {
			count++
			if got, err := guard.CheckURL(raw); err == nil {
				t.Errorf("%s: %q passed as %q", class, raw, got)
			} else if strings.Contains(err.Error(), "\n") || len(err.Error()) > 120 {
				t.Errorf("%s: %q: not a clear sentence: %q", class, raw, err)
			}
		}
	}
	if count < 100 {
		t.Errorf("only %d inputs were checked", count)
	}
}

func TestCheckURLMakesCanonical(t *testing.T) {
	loopback := mustAllow(t, "127.0.0.0/8,::1/128")
	for _, test := range []struct {
		allow     bool
		raw, want string
	}{
		{false, "https://erp.example.com/hook", "https://erp.example.com/hook"},
		{false, "https://example.com", "https://example.com"},
		{false, "HTTPS://ERP.Example.COM/Hook?A=b", "https://erp.example.com/Hook?A=b"},
		{false, "https://example.com:443/", "https://example.com/"},
		{false, "https://example.com:/", "https://example.com/"},
		{false, "https://example.com:08443/", "https://example.com:8443/"},
		{false, "https://example.com:80/", "https://example.com:80/"},
		{false, "https://bücher.example/ä?q=ä\"", "https://xn--bcher-kva.example/%C3%A4?q=%C3%A4%22"},
		{false, "https://BÜCHER。example/", "https://xn--bcher-kva.example/"},
		{false, "https://straße.example/", "https://xn--strae-oqa.example/"},
		{false, "https://qa--erp.example.com/", "https://qa--erp.example.com/"},
		{false, "https://r3---a.bücher.example/", "https://r3---a.xn--bcher-kva.example/"},
		{false, "https://8.8.8.8/", "https://8.8.8.8/"},
		{false, "https://100.128.0.1/", "https://100.128.0.1/"},
		{false, "https://172.32.0.1/", "https://172.32.0.1/"},
		{false, "https://[2606:4700:0:0:0:0:0:1111]:443/", "https://[2606:4700::1111]/"},
		{false, "https://[2606:4700::A]:8443/x", "https://[2606:4700::a]:8443/x"},
		{false, "https://127.0.0.1.nip.io/", "https://127.0.0.1.nip.io/"},
		{false, "https://0x7f.example/", "https://0x7f.example/"},
		{true, "http://localhost:8081/hook", "http://localhost:8081/hook"},
		{true, "http://127.0.0.1:8081/hook", "http://127.0.0.1:8081/hook"},
		{true, "https://127.0.0.1/", "https://127.0.0.1/"},
		{true, "http://[::1]:80/", "http://[::1]/"},
		{true, "http://receiver:80/", "http://receiver/"},
	} {
		guard := NewGuard(nil, nil)
		if test.allow {
			guard = NewGuard(loopback, nil)
		}
		got, err := guard.CheckURL(test.raw)
		if err != nil || got != test.want {
			t.Errorf("%s: got %q, %v; want %q", test.raw, got, err, test.want)
		}
	}
}

func TestCheckURLHoldsAllowedNetworksToTheirBounds(t *testing.T) {
	guard := NewGuard(mustAllow(t, "127.0.0.0/8,169.254.0.0/16"), nil)
	for _, raw := range []string{
		"http://8.8.8.8/", "http://10.0.0.1/", "https://10.0.0.1/", "http://[::1]/", "https://[::ffff:127.0.0.1]/",
		"http://127.1/", "http://2130706433/", "http://169.254.169.254/", "https://169.254.169.254/", "http://127.0.0.1:22/",
	} {
		if got, err := guard.CheckURL(raw); err == nil {
			t.Errorf("%s passed as %s", raw, got)
		}
	}
}

func TestCheckURLSaysWhatIsWrong(t *testing.T) {
	for raw, want := range map[string]string{
		"http://example.com/":       "must begin with https://",
		"https://a:b@example.com/":  "must not contain a user name or password",
		"https:///x":                "must name a host",
		"https://example.com:22/":   "must not use port 22",
		"https://10.0.0.1/":         "must have a public address, or one in a network that the operator allows",
		"https://0x7f.1/":           "must write an IPv4 address as four decimal numbers, like 198.51.100.7",
		"https://example.com/#here": "must not have a fragment",
	} {
		if _, err := NewGuard(nil, nil).CheckURL(raw); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %q", raw, err, want)
		}
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, urls := range refused {
		for _, raw := range urls {
			f.Add(raw)
		}
	}
	f.Add("https://bücher.example:8443/ä?q=ü")
	guard := NewGuard(nil, nil)
	f.Fuzz(func(t *testing.T, raw string) {
		canonical, err := guard.CheckURL(raw)
		if err != nil {
			return
		}
		again, err := guard.CheckURL(canonical)
		if err != nil || again != canonical {
			t.Fatalf("%q became %q, and that %q, %v", raw, canonical, again, err)
		}
		if !strings.HasPrefix(canonical, "https://") || len(canonical) > subscription.MaxURLLength {
			t.Fatalf("%q became %q", raw, canonical)
		}
		for _, b := range []byte(canonical) {
			if b <= ' ' || b >= 0x7f || b == '#' || b == '\\' {
				t.Fatalf("%q became %q, with byte %#x", raw, canonical, b)
			}
		}
	})
}
