package faults_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/ordinavo/webhooks/adapters/faults"
)

// repeatAfterKill emits an event without an ID under an Idempotency-Key to a process that kills itself once the event is
// durable, and then again: the answer is there, and no second event.
func repeatAfterKill(t *testing.T, k kind) string {
	s := open(t, fresh(t, k), nil).prepare()
	tenant := tenants[0]
	e := visit(tenant, "")
	delete(e, "eventId")
	before := s.acceptedOf(tenant)
	p := s.start(0, "FAULTS_KILL="+faults.AcceptAfterCommit+":1")
	if status, _, err := s.repeatable(p, tenant, e); err == nil {
		t.Fatalf("the process answered %d", status)
	}
	p = s.start(0)
	status, replayed, err := s.repeatable(p, tenant, e)
	if err != nil || status != http.StatusAccepted || replayed != "true" {
		t.Errorf("the request that came again got %d, replayed %q, %v", status, replayed, err)
	}
	if made := s.acceptedOf(tenant) - before; made != 1 {
		t.Errorf("%d events were accepted", made)
	}
	return "accepted once, answered by the next process at once"
}

// repeatable sends the event under one Idempotency-Key.
func (s *site) repeatable(p *process, tenant string, e object) (status int, replayed string, err error) {
	s.Helper()
	body, err := json.Marshal(e)
	if err != nil {
		s.Fatal(err)
	}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, p.url+"/v1/events", bytes.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	for name, value := range map[string]string{"Authorization": "Bearer " + platformKey, "X-Ordinavo-Tenant": tenant, "Content-Type": "application/json", "Idempotency-Key": "once"} {
		request.Header.Set(name, value)
	}
	answer, err := s.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = answer.Body.Close() }()
	return answer.StatusCode, answer.Header.Get("Idempotency-Replayed"), nil
}

func (s *site) acceptedOf(tenant string) int {
	s.Helper()
	var list struct{ Data []struct{ EventID string } }
	s.get(tenant, "/v1/events?limit=200", &list)
	return len(list.Data)
}
