package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const jobColumns = `tenant_id, job_id, state`

// scanJob reads a damaged job as one that has failed; see job.Read.
func scanJob(r *sql.Rows) (job.Job, error) { return scanJobAnd(r) }

// scanJobAnd scans further columns after those of a job.
func scanJobAnd(r *sql.Rows, more ...any) (job.Job, error) {
	var owner tenant.ID
	var id string
	var state []byte
	if err := r.Scan(append([]any{&owner, &id, &state}, more...)...); err != nil {
		return job.Job{}, err
	}
	return job.Read(owner, id, state), nil
}

// CreateJob stores a job unless the tenant has too many open ones; see jobs.Store.
func (s *Store) CreateJob(ctx context.Context, j job.Job, maxOpen int) error {
	state, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		open, err := one(ctx, s.db, value[int],
			`SELECT count(*) FROM jobs INDEXED BY jobs_open WHERE tenant_id = ? AND turn_at IS NOT NULL`, j.Tenant)
		if err != nil {
			return fmt.Errorf("count the open jobs: %w", err)
		}
		if open >= maxOpen {
			return jobs.ErrTooMany(open)
		}
		tx.QueueChanged() // also wakes the job worker
		_, err = tx.Exec(ctx, `INSERT INTO jobs (tenant_id, job_id, turn_at, state) VALUES (?, ?, ?, ?)`, j.Tenant, j.ID, stamp(j.CreatedAt), state)
		return err
	})
}

// Job finds one job.
func (s *Store) Job(ctx context.Context, owner tenant.ID, id string) (job.Job, error) {
	j, err := one(ctx, s.db, scanJob, `SELECT `+jobColumns+` FROM jobs WHERE tenant_id = ? AND job_id = ?`, owner, id)
	return j, notFound(err, "job")
}

// Jobs lists the tenant's jobs, newest first.
func (s *Store) Jobs(ctx context.Context, owner tenant.ID, before string, limit int) ([]job.Job, error) {
	if before == "" {
		before = "~" // sorts after every ID
	}
	return all(ctx, s.db.forUsers(), scanJob, `SELECT `+jobColumns+` FROM jobs WHERE tenant_id = ? AND job_id < ? ORDER BY job_id DESC LIMIT ?`, owner, before, limit)
}

// NextJob is the open job that has waited longest for its turn; see jobs.Store.
func (s *Store) NextJob(ctx context.Context, now time.Time) (j job.Job, found bool, turn time.Time, err error) {
	type waiting struct {
		job  job.Job
		turn time.Time
	}
	first, err := one(ctx, s.db, func(r *sql.Rows) (w waiting, err error) {
		var at sql.NullInt64
		w.job, err = scanJobAnd(r, &at)
		w.turn = moment(at)
		return w, err
	}, `SELECT `+jobColumns+`, turn_at FROM jobs WHERE turn_at IS NOT NULL ORDER BY turn_at LIMIT 1`)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return j, false, time.Time{}, nil
	case err != nil || first.turn.After(now):
		return j, false, first.turn, err
	}
	return first.job, true, time.Time{}, nil
}

// SaveJob writes the job; see jobs.Store.
func (s *Store) SaveJob(ctx context.Context, j job.Job, turn time.Time) error {
	if !j.Open() {
		turn = time.Time{}
	}
	state, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return s.mustChange(ctx, "job", `UPDATE jobs SET state = ?, turn_at = ? WHERE tenant_id = ? AND job_id = ?`, state, stamp(turn), j.Tenant, j.ID)
}
