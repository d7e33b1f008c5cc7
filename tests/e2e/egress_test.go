package e2e_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
)

// The URL that is stored, shown and called is one form of what was written, whichever way it was written.
func TestTheStoredURLIsTheCanonicalOne(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	hook := receive(t, nil)
	for written, want := range map[string]string{
		"https://erp.example.com/hook":                     "https://erp.example.com/hook",
		"https://erp.example.com":                          "https://erp.example.com",
		"HTTPS://ERP.Example.COM:443/Hook?A=b":             "https://erp.example.com/Hook?A=b",
		"https://erp.example.com:08443/":                   "https://erp.example.com:8443/",
		"https://erp.example.com:/":                        "https://erp.example.com/",
		"https://erp.example.com/a/../b?c=%2F":             "https://erp.example.com/a/../b?c=%2F",
		"https://b\u00fccher.example/\u00e4?q=\u00fc":      "https://xn--bcher-kva.example/%C3%A4?q=%C3%BC",
		"https://B\u00dcCHER\u3002example/":                "https://xn--bcher-kva.example/",
		"https://\uff45\uff52\uff50.example/":              "https://erp.example/",
		"https://8.8.8.8:443/":                             "https://8.8.8.8/",
		"https://[2606:4700:0:0:0:0:0:1111]:443/":          "https://[2606:4700::1111]/",
		"https://[2606:4700::ABCD]:8443/x":                 "https://[2606:4700::abcd]:8443/x",
		"http://LOCALHOST:8081/hook":                       "http://localhost:8081/hook",
		strings.Replace(hook.url, "http://", "HTTP://", 1): hook.url,
	} {
		made := into[storedURL](acme.post("/v1/subscriptions", wanted(hook, "*", object{"url": written})).want(http.StatusCreated))
		read := into[storedURL](acme.get("/v1/subscriptions/" + made.ID).want(http.StatusOK))
		if made.URL != want || read.URL != want {
			t.Errorf("%s: answered %s, stored %s, want %s", written, made.URL, read.URL, want)
		}
		acme.do(http.MethodPatch, "/v1/subscriptions/"+made.ID, object{"url": "https://other.example/"}).want(http.StatusOK)
		changed := into[storedURL](acme.do(http.MethodPatch, "/v1/subscriptions/"+made.ID, object{"url": written}).want(http.StatusOK))
		if changed.URL != want {
			t.Errorf("%s: changed to %s, want %s", written, changed.URL, want)
		}
		acme.do(http.MethodDelete, "/v1/subscriptions/"+made.ID, nil).want(http.StatusNoContent)
	}
}

type storedURL struct{ ID, URL string }

// On every path that sends, a blocked address looks the same with a port where something listens and with one where nothing
// does, and what listens never hears of it. The addresses were allowed once, since none that is blocked can be written.
func TestABlockedAddressTellsNothingOfItsPorts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	before := start(t, dir)
	acme, open := newTenant(t, before), receive(t, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := &receiver{t: t, url: "http://" + listener.Addr().String() + "/hook"}
	_ = listener.Close()
	to := [2]subscription{acme.subscribe(open, "*", nil), acme.subscribe(closed, "*", nil)}
	first := acme.emit(acme.visit("visit_report.approved", nil))
	acme.settled(first, to[0].ID, "succeeded")
	if got := acme.settled(first, to[1].ID, "dead_letter"); got.Attempts[0].Outcome != "connection_refused" {
		t.Errorf("while it is allowed, the closed port is %s", got.Attempts[0].Outcome)
	}
	open.exactly(1)
	if err := before.stop(); err != nil {
		t.Fatal(err)
	}

	acme.api = acme.at(start(t, dir, "ORDINAVO_EGRESS_ALLOW=127.0.0.9/32"))
	same := func(path string, said func(subscription) string) {
		t.Helper()
		if a, b := said(to[0]), said(to[1]); a != b || !strings.Contains(a, "blocked_address") {
			t.Errorf("%s: an open port gives %s, a closed one %s", path, a, b)
		}
	}
	attempts := func(eventID string, at subscription) (all []string) {
		for _, a := range acme.settled(eventID, at.ID, "dead_letter").Attempts {
			if a.Outcome == "blocked_address" {
				all = append(all, toldBy(a))
			}
		}
		return all
	}
	event := acme.emit(acme.visit("visit_report.approved", nil))
	same("dispatch and retries", func(at subscription) string { return strings.Join(attempts(event, at), "; ") })
	same("test", func(at subscription) string {
		return toldBy(into[attempt](acme.post("/v1/subscriptions/"+at.ID+"/test", object{"eventType": "visit_report.approved"}).want(http.StatusOK)))
	})
	same("retry by hand", func(at subscription) string {
		had := len(attempts(event, at))
		acme.post("/v1/deliveries/"+acme.settled(event, at.ID, "dead_letter").ID+"/retry", nil).want(http.StatusAccepted)
		eventually(t, "another attempt", func() bool { return len(attempts(event, at)) > had })
		return strings.Join(attempts(event, at)[had:], "; ")
	})
	for _, mode := range []string{"original", "rerender"} {
		same("replay "+mode, func(at subscription) string {
			had := len(attempts(event, at))
			acme.worked(acme.post("/v1/subscriptions/"+at.ID+"/replay", object{"mode": mode, "statuses": []string{"dead_letter"}}))
			if mode == "original" {
				eventually(t, "another attempt", func() bool { return len(attempts(event, at)) > had })
				return strings.Join(attempts(event, at)[had:], "; ")
			}
			newest := into[page[delivery]](acme.get("/v1/deliveries?eventId=" + event + "&subscriptionId=" + at.ID).want(http.StatusOK)).Data[0]
			return toldBy(acme.settledAs(newest.ID, "dead_letter").Attempts[0])
		})
	}
	open.exactly(1)
}

// toldBy is what an attempt tells of where it went.
func toldBy(a attempt) string {
	text := a.Outcome + " " + a.ResponseBody
	if a.Error != nil {
		text += *a.Error
	}
	if a.ResponseStatus != nil {
		text += " with an answer"
	}
	return text
}
