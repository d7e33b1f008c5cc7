package rest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/ordinavo/webhooks/domain/problem"
)

// Paging is what every list takes.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many to list."`
	Cursor string `query:"cursor" maxLength:"1024" doc:"The nextCursor of the page before; it is valid for 24 hours, for the same list with the same filters."`
}

// Page is what every list answers.
type Page[T any] struct {
	Data       []T     `json:"data" doc:"Newest first."`
	NextCursor *string `json:"nextCursor" doc:"Gets the next page; null when there is none."`
}

// PageOutput is a page as an answer.
type PageOutput[T any] struct{ Body Page[T] }

const (
	cursorVersion  = 1
	cursorLifetime = 24 * time.Hour
)

// cursor says where a page ended. It names a row, not a number of rows, so pages stay stable while
// rows are added.
type cursor struct {
	Version  int    `json:"v"`
	List     string `json:"k"` // digest of the list and its filters
	Last     string `json:"i"`
	IssuedAt int64  `json:"t"` // unix seconds
}

// listing is one list with its filters; a cursor of another one is refused.
type listing struct {
	digest string
	paging Paging
	now    time.Time
}

// listOf names the list that the request asks for, with everything that decides its rows.
func (a *API) listOf(ctx context.Context, kind string, paging Paging, filters ...any) listing {
	parts := []string{kind, string(ownerOf(ctx)), callerOf(ctx).SubscriptionID}
	for _, filter := range filters {
		parts = append(parts, fmt.Sprint(filter))
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return listing{hex.EncodeToString(sum[:8]), paging, a.Now()}
}

// fetch is how many rows to ask for: one more than the page holds shows that there is a next one.
func (l listing) fetch() int { return l.paging.Limit + 1 }

// after is the ID that the page before ended with; empty for the first page.
func (l listing) after() (string, error) {
	if l.paging.Cursor == "" {
		return "", nil
	}
	encoded, err := base64.RawURLEncoding.DecodeString(l.paging.Cursor)
	if err != nil {
		return "", errNoCursor()
	}
	var c cursor
	if json.Unmarshal(encoded, &c, json.RejectUnknownMembers(true)) != nil || c.Version != cursorVersion || c.List != l.digest || !validCursorID(c.Last) {
		return "", errNoCursor()
	}
	issued := time.Unix(c.IssuedAt, 0)
	if l.now.Sub(issued) > cursorLifetime || issued.Sub(l.now) > cursorLifetime {
		return "", problem.Invalid("cursor", "is older than 24 hours: begin the list anew")
	}
	return c.Last, nil
}

// afterNumber is after for a list whose IDs are numbers above 0; 0 for the first page.
func (l listing) afterNumber() (int64, error) {
	after, err := l.after()
	if err != nil || after == "" {
		return 0, err
	}
	number, err := strconv.ParseInt(after, 10, 64)
	if err != nil || number < 1 {
		return 0, errNoCursor()
	}
	return number, nil
}

func errNoCursor() error { return problem.Invalid("cursor", "is not a cursor of this list") }

func validCursorID(id string) bool { return id != "" && len(id) <= 100 && cleanText(id) }

// pageOf cuts off the extra row, which only shows that there is a next page.
func pageOf[T, V any](l listing, rows []T, id func(T) string, view func(T) V) (*PageOutput[V], error) {
	page := Page[V]{Data: []V{}}
	if len(rows) > l.paging.Limit {
		rows = rows[:l.paging.Limit]
		encoded, err := json.Marshal(cursor{cursorVersion, l.digest, id(rows[len(rows)-1]), l.now.Unix()})
		if err != nil {
			return nil, fmt.Errorf("encode a cursor: %w", err)
		}
		next := base64.RawURLEncoding.EncodeToString(encoded)
		page.NextCursor = &next
	}
	for _, row := range rows {
		page.Data = append(page.Data, view(row))
	}
	return &PageOutput[V]{page}, nil
}
