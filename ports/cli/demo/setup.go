package demo

import (
	"context"
	"net/http"
	"time"
)

// object is JSON by hand, as a caller would write it.
type object = map[string]any

// subscription is what POST /v1/subscriptions answers, as far as the demo needs it.
type subscription struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// delivery is what GET /v1/deliveries/{id} answers, as far as the demo needs it.
type delivery struct {
	Status   string `json:"status"`
	Attempts []struct {
		Number         int    `json:"number"`
		Outcome        string `json:"outcome"`
		ResponseStatus *int   `json:"responseStatus"`
	} `json:"attempts"`
}

// accepted is what GET /v1/events/{id} answers, as far as the demo needs it.
type accepted struct {
	Dispositions []struct {
		SubscriptionID string `json:"subscriptionId"`
		Outcome        string `json:"outcome"`
		DeliveryID     string `json:"deliveryId"`
	} `json:"dispositions"`
}

// tenant makes a tenant whose customer 12, location 34, contact 56 and target 455 have external IDs in the source system sap.
func (s *stage) tenant(ctx context.Context, id, name string, externalIDs map[string]string, customer string) error {
	if err := s.api.call(ctx, http.MethodPost, "/v1/tenants", object{"tenantId": id, "name": name}, nil); err != nil {
		return err
	}
	ids := map[string]int{"customer": 12, "location": 34, "contact": 56, "target": 455}
	mappings := []object{}
	for kind, external := range externalIDs {
		mappings = append(mappings, object{"sourceSystem": "sap", "entityType": kind, "ordinavoId": ids[kind], "externalId": external})
	}
	return s.api.as(id).call(ctx, http.MethodPost, "/v1/directory", object{
		"customers":   []object{{"ordinavoCustomerId": 12, "customerNumber": "RRM-001", "name": customer}},
		"locations":   []object{{"ordinavoLocationId": 34, "name": "Essen Center", "city": "Essen", "hasCoordinates": true}},
		"contacts":    []object{{"ordinavoContactId": 56, "displayName": "Anna Weber"}},
		"externalIds": mappings,
	}, nil)
}

// subscribe makes a subscription of the tenant to the endpoint; more overrides its settings.
func (s *stage) subscribe(ctx context.Context, tenant string, to *endpoint, types []string, more object) (sub subscription, err error) {
	settings := object{"name": "demo", "url": to.url, "eventTypes": types, "sourceSystem": "sap"}
	for key, value := range more {
		settings[key] = value
	}
	return sub, s.api.as(tenant).call(ctx, http.MethodPost, "/v1/subscriptions", settings, &sub)
}

// emit sends an event of the public documentation's visit and returns its ID and how long the 202 took.
func (s *stage) emit(ctx context.Context, c client, tenant, kind string, more object) (id string, took time.Duration, err error) {
	e := object{
		"eventType": kind, "occurredAt": "2026-06-18T16:40:00Z", "tenantId": tenant, "customerId": 12, "locationId": 34, "contactId": 56,
		"visitReport": object{
			"id": 901, "title": "Maintenance visit - Essen Center", "status": "Approved", "result": "Successful", "followUpRequired": false,
			"isBillable": true, "billingStatus": "NotReady", "attachmentCount": 2,
			"summary": "Filter replaced,   pressure checked. Next visit in spring. Mail anna.weber@example.com for the door code.",
		},
		"target": object{"id": 455, "title": "Maintenance visit", "customerNumber": "LEGACY-7"},
	}
	for key, value := range more {
		e[key] = value
	}
	var answer struct {
		Results []struct {
			EventID string `json:"eventId"`
		} `json:"results"`
	}
	began := time.Now()
	if err := c.call(ctx, http.MethodPost, "/v1/events", e, &answer); err != nil {
		return "", 0, err
	}
	return answer.Results[0].EventID, time.Since(began), nil
}

// deliveryOf waits until the event of tenant ruhr has a delivery to the subscription.
func (s *stage) deliveryOf(ctx context.Context, eventID, subscriptionID string) (id string, err error) {
	_, err = until(ctx, s.api.as(ruhr), "/v1/events/"+eventID, func(e accepted) bool {
		for _, d := range e.Dispositions {
			if d.SubscriptionID == subscriptionID && d.Outcome == "delivery" {
				id = d.DeliveryID
			}
		}
		return id != ""
	})
	return id, err
}

// settled waits until the delivery of tenant ruhr has the status.
func (s *stage) settled(ctx context.Context, id, status string) (delivery, error) {
	return until(ctx, s.api.as(ruhr), "/v1/deliveries/"+id, func(d delivery) bool { return d.Status == status })
}
