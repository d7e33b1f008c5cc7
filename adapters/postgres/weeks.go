package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// Tables whose rows grow old have a part for each week, counted from 1970, which is made ahead and dropped as a whole: records by when
// they were appended, deliveries by when they were closed, and events, with what fan-out makes of them besides deliveries, by when they
// were accepted. Week 0 holds what stays longer: the subscriptions' log, what was set aside, dead letters, and what belongs to
// deliveries that outlive its week.
const (
	week       = reconciliation.Week
	weeksAhead = 2

	inRecords = "records"
	inClosed  = "closed_deliveries"
	inBodies  = "bodies"
	inGated   = "gated_events"
	inEvents  = "events"
)

// byTheWeek lists the tables that have a part for each week, and a default part for rows whose week had none.
var byTheWeek = []string{inRecords, inClosed, inEvents, inBodies, inGated}

func weekOf(at time.Time) int16 {
	return int16(min(max(at.UnixMicro()/week.Microseconds(), 0), math.MaxInt16-1))
}

// week is the part that the record goes to.
func (a appended) week() int16 {
	w := weekOf(a.At)
	switch a.Topic {
	case records.TopicDeliveries:
		if madeLate(w, strings.TrimPrefix(a.Stream, "delivery/")) { // nobody would move it to week 0 later
			return 0
		}
		return w
	case records.TopicEvents, records.TopicTests:
		return w
	}
	return 0
}

const (
	// weekMicros is the microseconds of a week, for statements.
	weekMicros = `604800000000`

	// weekAccepted is an event's week.
	weekAccepted = `least(greatest(accepted_at / ` + weekMicros + `, 0), 32766)`

	// weekClosed is the part that a delivery goes to when it is closed.
	weekClosed = `CASE status WHEN '` + string(delivery.StatusDeadLetter) + `' THEN 0 ELSE least(greatest(updated_at / ` + weekMicros + `, 0), 32766) END`

	// missingWeeks gives the weeks without a part, and how many rows each has in the default. It, moveAstray and lockWhole are formats for a
	// table's name.
	missingWeeks = `SELECT w, coalesce(astray, 0) FROM generate_series($1::int, $2::int) AS w
FULL JOIN (SELECT week::int AS w, count(*) AS astray FROM %[1]s_default GROUP BY week) AS there USING (w)
WHERE to_regclass('%[1]s_w' || w) IS NULL ORDER BY w`

	// moveAstray moves rows of a week that has no part from the default to week 0.
	moveAstray = `UPDATE %[1]s SET week = 0 WHERE week = $1 AND ctid = ANY (ARRAY(SELECT ctid FROM %[1]s_default WHERE week = $1 LIMIT $2))`

	oldestWeek = `SELECT substr(c.relname, length($1) + 3)::smallint AS w FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = $1::text::regclass AND c.relname ~ ('^' || $1 || '_w[0-9]+$') ORDER BY w LIMIT 1`

	// hearOfParts is a format for a table's name. A connection that has found no part of some name finds none, in a transaction that it has
	// begun before somebody made the part, until it locks some table.
	hearOfParts = `LOCK TABLE ONLY %s_default IN ACCESS SHARE MODE`
	makeWeek    = `SELECT make_week($1, $2)`

	// Waiting for a table's lock blocks everybody else from the table.
	waitBriefly = `SET LOCAL lock_timeout = '200ms'`
	lockWhole   = `LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE`

	// mostAstray is how many rows of a week are moved from the default when its part is made, for which everybody waits: some tenths of a second.
	mostAstray = 10_000

	// leftAlone is how long this process leaves tables alone that others use: a backup uses them for hours. Weeks are made two ahead.
	leftAlone = 10 * time.Minute
)

// makeWeeks makes the parts that are to come, and those for rows that came when there was none for them. A table that others use keeps no
// other from its weeks.
func (s *Store) makeWeeks(ctx context.Context, now time.Time) (used error) {
	if now.IsZero() {
		return nil
	}
	for _, table := range byTheWeek {
		err := s.makeWeeksOf(ctx, table, now)
		if err != nil && !errors.Is(err, errUsed) {
			return err
		}
		used = cmp.Or(used, err)
	}
	return used
}

// missing is a week without a part.
type missing struct {
	week   int16
	astray int64 // its rows in the default
}

// makeWeeksOf leaves a week of many rows in the default until it is over, and moves them to week 0 then.
func (s *Store) makeWeeksOf(ctx context.Context, table string, now time.Time) error {
	weeks, err := all(ctx, s.db.from(ctx), func(r pgx.Rows) (m missing, err error) { return m, r.Scan(&m.week, &m.astray) },
		fmt.Sprintf(missingWeeks, table), weekOf(now), weekOf(now.Add(weeksAhead*week)))
	if err != nil {
		return fmt.Errorf("look for the weeks of %s: %w", table, err)
	}
	for _, m := range weeks {
		switch {
		case m.astray <= mostAstray:
			err = s.makeWeek(ctx, table, m.week)
		case m.week < weekOf(now.Add(-clocksDiffer)): // nobody adds to it
			err = s.moveAstray(ctx, table, m.week)
		}
		if err != nil {
			return fmt.Errorf("make week %d of %s: %w", m.week, table, err)
		}
	}
	return nil
}

func (s *Store) makeWeek(ctx context.Context, table string, w int16) error {
	_, err := s.leading(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.briefly(ctx, func() error {
			if _, err := tx.Exec(ctx, fmt.Sprintf(hearOfParts, table)); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, makeWeek, table, w)
			return err
		})
	})
	return err
}

// moveAstray moves a few rows at a time, so that nobody waits for it. In week 0 each is deleted when it is old.
func (s *Store) moveAstray(ctx context.Context, table string, w int16) error {
	for {
		var moved int64
		led, err := s.leading(ctx, func(ctx context.Context, tx *Tx) (err error) {
			moved, err = tx.Exec(ctx, fmt.Sprintf(moveAstray, table), w, keptAtOnce)
			return err
		})
		if err != nil || !led || moved < keptAtOnce {
			return err
		}
	}
}

// errUsed says that others use a table for longer than who wants it for itself may wait.
var errUsed = errors.New("others use the table")

// briefly runs fn, which takes tables for itself. What is not to be had soon is not tried again at once.
func (tx *Tx) briefly(ctx context.Context, fn func() error) error {
	_, err := tx.Exec(ctx, waitBriefly)
	if err == nil {
		err = fn()
	}
	if code(err) == codeLockNotAvailable {
		return fmt.Errorf("%w: %w", errUsed, err)
	}
	return err
}

// unlessUsed runs fn, which needs tables for itself; if it found one in use, then not again for leftAlone.
func (s *Store) unlessUsed(ctx context.Context, now time.Time, fn func() error) error {
	if used := s.usedAt.Load(); used != nil && !now.Before(*used) && now.Sub(*used) < leftAlone {
		return nil
	}
	err := fn()
	if !errors.Is(err, errUsed) {
		return err
	}
	s.usedAt.Store(&now)
	s.db.config.Logger.LogAttrs(ctx, slog.LevelInfo, "retention lets others use a table, and tries again later", slog.Duration("after", leftAlone), slog.Any("error", err))
	return nil
}
