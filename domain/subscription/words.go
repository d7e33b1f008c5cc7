package subscription

import (
	"strings"
	"time"
)

// Word is a change's name for people: created, endpoint_changed, paused …
func Word(c Change) string {
	name, _, err := Encode(c)
	if err != nil {
		return "unknown"
	}
	word, _, _ := strings.Cut(strings.TrimPrefix(name, "subscription."), ".")
	return word
}

// Sentence says what a change did, for people.
func Sentence(c Change) string {
	switch c := c.(type) {
	case Created:
		return "The subscription was created."
	case EndpointChanged:
		return "Its name, or where or how to send, was changed."
	case FilterChanged:
		return "Which events are sent was changed."
	case OptionsChanged:
		return "What the bodies hold was changed."
	case SecretRotationStarted:
		if !c.OverlapEnd.After(c.At) {
			return "A new secret replaced the old one at once."
		}
		return "A new secret became current; the old one stays valid until " + c.OverlapEnd.UTC().Format(time.RFC3339) + " at the latest."
	case SecretRotationCompleted:
		return "The old secret ended."
	case Paused:
		return "It was paused: events are parked from now on." + because(c.Reason)
	case Resumed:
		if c.SkipParked {
			return "It was resumed; what was parked was cancelled."
		}
		return "It was resumed; what was parked is sent, in order."
	case Disabled:
		return "The service disabled it: events are parked from now on." + because(c.Reason)
	case Deleted:
		return "It was deleted; what was on its way was cancelled."
	default:
		return "It was changed."
	}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " The reason: " + reason + "."
}
