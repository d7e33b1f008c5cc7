package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/problem"
)

// The PostgreSQL error codes (its appendix A) that are treated specially here.
const (
	codeSerializationFailure = "40001"
	codeDeadlock             = "40P01"
	codeLockNotAvailable     = "55P03"
	codeUniqueViolation      = "23505"
	codeCheckViolation       = "23514"
	codeWrongPassword        = "28P01"
	codeNotAuthorized        = "28000"
	codeNoSuchDatabase       = "3D000"
	codeNotPermitted         = "42501" // among others, to connect
	codeNoSuchTable          = "42P01"
	codeReadOnly             = "25006" // the server was demoted
	codeIdleTooLong          = "25P03" // see longestIdle
	codeTooLong              = "25P04" // by an operator's limit for transactions, from PostgreSQL 17 on
	codeDiskFull             = "53100"
	codeTooMany              = "53300" // connections: of the server, the database or the role
	codeDivisionByZero       = "22012" // see deciding
	codeCanceled             = "57014" // by a migration, see givePrecedence, or by an operator's limit
	codeNoSuchParameter      = "42704" // of a connection, among others
	codeWrongValue           = "22023" // of a connection's parameter, among others, and of pg_xact_status for a transaction that has not begun
)

// unavailable tells the caller to try again, and keeps the cause for the log.
func unavailable(err error) error {
	if problem.Is(err, problem.Unavailable) {
		return err
	}
	why := "does not answer"
	switch {
	case code(err) == codeDiskFull:
		why = "has no room on its disk"
	case misconfigured(err):
		why = "does not let the service in"
	case collided(err), repeatable(err):
		why = "is busy"
	}
	return fmt.Errorf("%w: %w", problem.New(problem.Unavailable, "The database %s; try again in a second.", why), err)
}

// translate turns a driver's error into one that the application knows.
func translate(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	case errors.Is(err, puddle.ErrClosedPool):
		return ErrClosed
	case lostConnection(err), collided(err):
		return unavailable(err)
	case refused(err):
		return fmt.Errorf("%w: %w", fanout.ErrRefused, err)
	}
	return err
}

// refused reports whether the server cannot hold a value, or has a row with the same key, and will say so each time (classes 22 and 23).
func refused(err error) bool {
	class := code(err)[:min(2, len(code(err)))]
	return !repeatable(err) && code(err) != codeDivisionByZero && (class == "22" || class == "23")
}

// lostConnection reports whether the server is away, going away or full, or the connection to it is broken. One that lets nobody in, for
// whatever reason, is away too: an operator who has changed a password, or promoted a server that does not know this machine, mends that.
func lostConnection(err error) bool {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return true
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		class := refused.Code[:min(2, len(refused.Code))]
		return class == "08" || class == "53" || strings.HasPrefix(refused.Code, "57P") ||
			slices.Contains([]string{codeReadOnly, codeIdleTooLong, codeTooLong}, refused.Code)
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err)
}

// misconfigured reports whether waiting cannot fix the error.
func misconfigured(err error) bool {
	switch code(err) {
	case codeWrongPassword, codeNotAuthorized, codeNotPermitted, codeNoSuchDatabase, codeNoSuchParameter, codeWrongValue:
		return true
	}
	return errors.Is(err, errTooOld)
}

func code(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

// repeatable reports whether the same transaction may well succeed when run again, because it collided with another. Two processes
// that accept the same event at once collide on its key; the second then finds the first's.
func repeatable(err error) bool {
	var refused *pgconn.PgError
	return collided(err) && !errors.Is(err, errUsed) || errors.Is(err, errAcceptedBeside) || errors.As(err, &refused) && refused.Code == codeUniqueViolation &&
		strings.HasPrefix(refused.ConstraintName, "events_") && strings.HasSuffix(refused.ConstraintName, "_pkey")
}

// collided reports whether the server gave up a transaction so that others could go on. A row that waited to go to a default part while its
// week was made may not go there any more.
func collided(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == codeCheckViolation && strings.HasSuffix(refused.TableName, "_default") {
		return true
	}
	return limited(err) || slices.Contains([]string{codeSerializationFailure, codeDeadlock}, code(err))
}

// limited reports whether a statement may have met a limit of the operator's: statement_timeout or lock_timeout.
func limited(err error) bool {
	return slices.Contains([]string{codeCanceled, codeLockNotAvailable}, code(err))
}

// notFound turns the absence of a row into a problem.NotFound.
func notFound(err error, what string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return problem.New(problem.NotFound, "There is no such %s.", what)
	}
	return err
}
