package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// jobsClass names the lock under which jobs are created one at a time ("ORDJ").
const jobsClass = 0x4F52444A

const jobColumns = `tenant_id, job_id, state`

// scanJob reads a damaged row as a job that has failed; see job.Read.
func scanJob(r pgx.Rows) (job.Job, error) {
	var owner tenant.ID
	var id string
	var state []byte
	if err := r.Scan(&owner, &id, &state); err != nil {
		return job.Job{}, err
	}
	return job.Read(owner, id, state), nil
}

const countOpenJobs = `SELECT count(*) FROM jobs WHERE tenant_id = $1 AND turn_at IS NOT NULL`

// CreateJob takes a job, unless the tenant has too many open ones; see jobs.Store.
func (s *Store) CreateJob(ctx context.Context, j job.Job, maxOpen int) error {
	state, err := json.Marshal(j)
	if err != nil {
		return err
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::int, $2::int)`, jobsClass, allTenants); err != nil {
			return err
		}
		open, err := one(ctx, tx, value[int], countOpenJobs, j.Tenant)
		if err != nil {
			return fmt.Errorf("count the open jobs: %w", err)
		}
		if open >= maxOpen {
			return jobs.ErrTooMany(open)
		}
		tx.QueueChanged() // also wakes the workers of jobs
		_, err = tx.Exec(ctx, `INSERT INTO jobs (tenant_id, job_id, turn_at, state) VALUES ($1, $2, $3, $4)`, j.Tenant, j.ID, stamp(j.CreatedAt), state)
		return err
	})
}

// Job finds one job. In a transaction it is locked.
func (s *Store) Job(ctx context.Context, owner tenant.ID, id string) (job.Job, error) {
	query := `SELECT ` + jobColumns + ` FROM jobs WHERE tenant_id = $1 AND job_id = $2`
	if _, inTx := ctx.Value(txKey{}).(*Tx); inTx {
		query += ` FOR UPDATE`
	}
	j, err := one(ctx, s.db.from(ctx), scanJob, query, owner, id)
	return j, notFound(err, "job")
}

// Jobs lists newest first.
func (s *Store) Jobs(ctx context.Context, owner tenant.ID, before string, limit int) ([]job.Job, error) {
	if before == "" {
		before = "~" // behind every ID
	}
	return all(ctx, s.db.forUsers(ctx), scanJob, `SELECT `+jobColumns+` FROM jobs WHERE tenant_id = $1 AND job_id < $2 ORDER BY job_id DESC LIMIT $3`, owner, before, limit)
}

const (
	nextJob     = `SELECT ` + jobColumns + ` FROM jobs WHERE turn_at IS NOT NULL AND turn_at <= $1 ORDER BY turn_at LIMIT 1 FOR UPDATE SKIP LOCKED`
	nextJobTurn = `SELECT min(turn_at) FROM jobs WHERE turn_at IS NOT NULL`
)

// NextJob is the open job that has waited longest for its turn; see jobs.Store.
func (s *Store) NextJob(ctx context.Context, now time.Time) (j job.Job, found bool, turn time.Time, err error) {
	j, err = one(ctx, s.db.from(ctx), scanJob, nextJob, stamp(now))
	if !errors.Is(err, pgx.ErrNoRows) {
		return j, err == nil, time.Time{}, err
	}
	first, err := one(ctx, s.db.from(ctx), value[*int64], nextJobTurn)
	return job.Job{}, false, moment(first), err
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
	return s.mustChange(ctx, "job", `UPDATE jobs SET state = $1, turn_at = $2 WHERE tenant_id = $3 AND job_id = $4`, state, stamp(turn), j.Tenant, j.ID)
}
