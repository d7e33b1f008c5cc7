package rest

import (
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

const (
	asyncAPIVersion = "3.0.0"
	// httpBinding is the version of AsyncAPI's HTTP binding that the document follows.
	httpBinding = "0.3.0"
	refSchema   = "#/components/schemas/"
	// asyncChannel is the one channel: all that a subscription asks for comes to its URL.
	asyncChannel = "subscription"
)

// fragment is a part of the AsyncAPI document.
type fragment map[string]any

func ref(path string) fragment { return fragment{"$ref": path} }

// asyncAPI is the AsyncAPI 3.0 document of what the service sends.
func (a *API) asyncAPI() fragment {
	schemas, messages := fragment{}, fragment{}
	channelMessages, operations := fragment{}, fragment{}
	for _, w := range a.webhooks() {
		name := string(w.Type)
		schemas[w.schemaName] = w.schema
		messages[name] = w.message()
		channelMessages[name] = ref("#/components/messages/" + name)
		operations["send."+name] = fragment{
			"action": "send", "channel": ref("#/channels/" + asyncChannel), "title": name, "summary": w.Description(), "description": w.about(), "tags": []fragment{{"name": w.tag()}},
			"messages": []fragment{ref("#/channels/" + asyncChannel + "/messages/" + name)},
			"bindings": fragment{"http": fragment{"method": "POST", "bindingVersion": httpBinding}},
		}
	}
	return fragment{
		"asyncapi": asyncAPIVersion, "defaultContentType": contentTypeJSON,
		"info": fragment{
			"title": "Ordinavo Webhooks", "version": a.Version, "license": fragment{"name": "Apache-2.0"},
			"description": "What the service sends to the URLs of subscriptions. The API that manages them is described at /openapi.json. " +
				"The signatures of the examples are real, for whoever wants to try a receiver on them: they are over the payload without white space, with the secret " +
				exampleSecret.Reveal() + ".",
		},
		"servers":    fragment{"receiver": asyncServer()},
		"channels":   fragment{asyncChannel: describeChannel(channelMessages)},
		"operations": operations,
		"components": fragment{"schemas": schemas, "messages": messages},
	}
}

func asyncServer() fragment {
	return fragment{
		"host": "{host}", "protocol": "https", "title": "The receiver", "description": "The host of a subscription's URL.",
		"variables": fragment{"host": fragment{"description": "With a port when it is not 443.", "examples": []string{"erp.example.com"}}},
	}
}

func describeChannel(messages fragment) fragment {
	return fragment{
		"address": "/{path}", "title": "A subscription's URL", "servers": []fragment{ref("#/servers/receiver")}, "messages": messages,
		"description": "Each subscription has a URL of its own, and gets those of the messages there that its eventTypes match. " +
			"Answers: any 2xx that is complete within the timeout takes the event; 410 ends the delivery and disables the subscription; all else is tried again.",
		"parameters": fragment{"path": fragment{"description": "The path of the subscription's URL.", "examples": []string{"hook"}}},
	}
}

// message describes the headers of section 4 of the contract as the message's own, and those of HTTP in its binding.
func (w webhook) message() fragment {
	own, ofHTTP, example := object(), object(field{"Content-Type", constant(contentTypeJSON)}), fragment{}
	for _, h := range w.headers {
		schema := *h.schema
		schema.Description = h.description
		if h.ofHTTP {
			ofHTTP.Properties[h.name], ofHTTP.Required = &schema, append(ofHTTP.Required, h.name)
			continue
		}
		own.Properties[h.name] = &schema
		if h.ofSamples {
			continue
		}
		own.Required = append(own.Required, h.name)
		example[h.name] = h.example
	}
	return fragment{
		"name": string(w.Type), "title": strings.TrimSuffix(w.schemaName, "Body"), "summary": w.Description(), "contentType": contentTypeJSON,
		"headers": own, "payload": &huma.Schema{Ref: refSchema + w.schemaName},
		"correlationId": fragment{"description": "The same for every attempt and replay.", "location": "$message.header#/X-Ordinavo-Event-Id"},
		"bindings":      fragment{"http": fragment{"headers": ofHTTP, "bindingVersion": httpBinding}},
		"examples":      []fragment{{"name": pascalCase(string(w.Type)), "headers": example, "payload": w.example}},
	}
}
