package payload

import (
	"strings"
	"unicode/utf8"

	"github.com/ordinavo/webhooks/domain/event"
)

// MaxPreviewLength is the longest summary preview in characters (Unicode code points), the
// ellipsis included.
const MaxPreviewLength = 280

const ellipsis = "…"

// Shown is the event without what is rendered for nobody: its report's free text is cut to the preview, which is its own preview. The event
// itself is left alone.
func Shown(e event.Event) event.Event {
	if e.VisitReport != nil {
		report := *e.VisitReport
		report.Summary = summaryPreview(report.Summary)
		e.VisitReport = &report
	}
	return e
}

// summaryPreview is the beginning of a free text with its white space collapsed, cut after a
// whole word. A first word that is too long by itself is cut where it must be. A text without a
// word has no preview.
func summaryPreview(text *string) *string {
	if text == nil {
		return nil
	}
	preview, length := make([]byte, 0, 2*MaxPreviewLength), 0
	fits := 0 // end of the last word that leaves room for the ellipsis
	for word := range strings.FieldsSeq(*text) {
		if length > 0 {
			preview, length = append(preview, ' '), length+1
		}
		preview, length = append(preview, word...), length+utf8.RuneCountInString(word)
		if length > MaxPreviewLength {
			return new(cut(string(preview), fits))
		}
		if length < MaxPreviewLength {
			fits = len(preview)
		}
	}
	if length == 0 {
		return nil
	}
	return new(string(preview))
}

// cut keeps the first end bytes, or for 0 as many characters as there is room for.
func cut(text string, end int) string {
	if end == 0 {
		left := MaxPreviewLength - 1
		for i := range text {
			if left == 0 {
				end = i
				break
			}
			left--
		}
	}
	return text[:end] + ellipsis
}
