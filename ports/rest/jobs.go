package rest

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// Job is work on many deliveries.
type Job struct {
	ID             *string        `json:"id" doc:"null for a dry run, of which nothing is kept." example:"job_01JZ8A2MT8G7C3Y7V0WQ1M9B3C"`
	TenantID       string         `json:"tenantId"`
	Kind           string         `json:"kind" enum:"retry,replay"`
	Mode           string         `json:"mode" enum:"original,rerender,missing"`
	DryRun         bool           `json:"dryRun"`
	Filter         JobFilter      `json:"filter"`
	Status         string         `json:"status" enum:"pending,running,succeeded,failed,cancelled"`
	StatusReason   *string        `json:"statusReason" doc:"Why it has failed, or stands still."`
	Found          int            `json:"found" doc:"Deliveries, or with the mode missing events without one, that were found so far: those done, skipped and failed."`
	Done           int            `json:"done" doc:"Sent again, which does not mean that they have arrived: their deliveries tell. Of a dry run, what would be."`
	Skipped        int            `json:"skipped" doc:"Left alone."`
	SkippedReasons map[string]int `json:"skippedReasons"`
	Failed         int            `json:"failed" doc:"Could not be sent again."`
	FailedReasons  map[string]int `json:"failedReasons"`
	RequestedBy    JobRequester   `json:"requestedBy"`
	CreatedAt      time.Time      `json:"createdAt"`
	StartedAt      *time.Time     `json:"startedAt"`
	FinishedAt     *time.Time     `json:"finishedAt"`
	UpdatedAt      time.Time      `json:"updatedAt"`
}

// JobFilter is which deliveries a job is about.
type JobFilter struct {
	SubscriptionID *string    `json:"subscriptionId"`
	EventID        *string    `json:"eventId"`
	EventTypes     []string   `json:"eventTypes" doc:"Empty for all."`
	Statuses       []string   `json:"statuses"`
	Since          *time.Time `json:"since"`
	Until          *time.Time `json:"until"`
}

// JobRequester is who asked for a job.
type JobRequester struct {
	KeyID   string `json:"keyId"`
	KeyName string `json:"keyName"`
}

// JobOutput is a job as an answer.
type JobOutput struct{ Body Job }

// TakenJobOutput is a job that was just taken, or what a dry run of it has counted, as an answer.
type TakenJobOutput struct {
	Status   int
	Location string `header:"Location"`
	Body     Job
}

// BulkRetry says which deliveries to attempt now.
type BulkRetry struct {
	DryRun         bool       `json:"dryRun,omitempty" doc:"Only counts."`
	Status         string     `json:"status,omitempty" enum:"retrying,succeeded,dead_letter,cancelled" doc:"Default: those that have failed, which are retrying or dead_letter."`
	SubscriptionID string     `json:"subscriptionId,omitempty" pattern:"^sub_[0-9A-Za-z]{1,40}$" patternDescription:"an id that begins with sub_"`
	EventID        string     `json:"eventId,omitempty" pattern:"^evt_[0-9A-Za-z]{1,40}$" patternDescription:"an id that begins with evt_"`
	EventType      string     `json:"eventType,omitempty" minLength:"1" maxLength:"100" example:"visit_report.approved"`
	Since          *time.Time `json:"since,omitempty" doc:"Of the delivery's creation; inclusive."`
	Until          *time.Time `json:"until,omitempty" doc:"Exclusive."`
}

// Replay says which of a subscription's events to send again, and how.
type Replay struct {
	Mode       string     `json:"mode,omitempty" enum:"original,rerender,missing" doc:"Needed unless it is a dry run of original or rerender, which counts the same for both. original sends the stored bytes again under the same delivery id. rerender renders anew with today's options and directory, as a new delivery of the same eventId: a receiver that passes over every eventId that it has handled passes over that too. missing begins such a delivery, the first one, of each event that matches the subscription as it is now and has none for it: what was accepted before the subscription was created, was not matched, or was kept back by a missing feature that the tenant has now."`
	DryRun     bool       `json:"dryRun,omitempty" doc:"Only counts."`
	EventTypes []string   `json:"eventTypes,omitempty" maxItems:"50" doc:"Exact types, families like visit_report.*, or * for all that product services emit. Default: all, operational events too."`
	Statuses   []string   `json:"statuses,omitempty" maxItems:"4" enum:"retrying,succeeded,dead_letter,cancelled" doc:"Of the event's newest delivery. Default: any of these. What is pending, delivering or parked is sent anyway. Not with the mode missing, which is about what has no delivery."`
	Since      *time.Time `json:"since,omitempty" doc:"Of the delivery's creation, with the mode missing of the event's acceptance; inclusive."`
	Until      *time.Time `json:"until,omitempty" doc:"Exclusive."`
}

type bulkRetryInput struct{ Body *BulkRetry }

type replayInput struct {
	SubscriptionRef
	Body Replay
}

type jobInput struct {
	ID string `path:"jobId" maxLength:"100"`
}

const (
	pathRetryMany = "/v1/deliveries/retry"
	pathReplay    = "/v1/subscriptions/{subscriptionId}/replay"
	jobAnswer     = " The answer is a job, which is worked on in the background and goes on where it stood after a crash; a tenant may have ten open ones. " +
		"What it sends goes through the ordinary lanes, with their limits. Deliveries of subscriptions that are not active are skipped, and those of billing events while the tenant lacks the feature. A dry run is answered at once, " +
		"and nothing of it is kept; one that has looked at 100,000 deliveries, or events, ends there, with the status running."
)

const replayDescription = "Each event of the range once, by its newest delivery there; with the mode missing, each that was accepted in the range and of which the subscription has no delivery, the oldest first. " +
	"Such a job looks at what was accepted before it was asked for, and waits until fan-out is done with that; a dry run counts as far as fan-out has come. It skips events that were set aside, since their own retry sends them, " +
	"and those that are so old (ORDINAVO_RETENTION) that a delivery of them may have been deleted, unless they are older than the subscription. " +
	"An event that is older than the subscription and was sent by such a job is sent again by the next one once that delivery is deleted for its age, if the event itself is still kept. The new deliveries are among the event's replays."

func (a *API) routeJobs() {
	register(a, operation{id: "retryDeliveries", method: http.MethodPost, path: pathRetryMany, tag: tagJobs, scope: access.DeliveriesRetry, perTenant: true,
		status: http.StatusAccepted, summary: "Attempt all deliveries now that match a filter",
		description: "The filter is that of the list; without one, or without a body, it is everything that has failed and is kept, of all subscriptions: a dry run tells how much that is. The stored bytes are sent again under the same ids, " + retryBegins + jobAnswer,
		example:     map[string]any{"status": "dead_letter", "eventType": "visit_report.approved", "dryRun": true}}, a.retryDeliveries)
	register(a, operation{id: "replaySubscription", method: http.MethodPost, path: pathReplay, tag: tagJobs, scope: access.WebhooksManage, perTenant: true,
		status: http.StatusAccepted, summary: "Send a subscription's events again",
		description: replayDescription + jobAnswer,
		example:     map[string]any{"mode": "rerender", "eventTypes": []string{"visit_report.*"}, "since": "2026-06-18T00:00:00Z", "dryRun": true}}, a.replay)
	register(a, operation{id: "listJobs", method: http.MethodGet, path: "/v1/jobs", tag: tagJobs, scope: access.DeliveriesRetry, perTenant: true,
		summary: "List bulk retries and replays"}, a.listJobs)
	register(a, operation{id: "getJob", method: http.MethodGet, path: "/v1/jobs/{jobId}", tag: tagJobs, scope: access.DeliveriesRetry, perTenant: true,
		summary: "Get a job with its progress"}, a.getJob)
	register(a, operation{id: "cancelJob", method: http.MethodPost, path: "/v1/jobs/{jobId}/cancel", tag: tagJobs, scope: access.DeliveriesRetry, perTenant: true,
		summary: "Stop a job where it stands", description: "What it has sent again stays so. Cancelling what is cancelled changes nothing."}, a.cancelJob)
	for _, path := range []string{pathRetryMany, pathReplay} {
		answers := a.huma.OpenAPI().Paths[path].Post.Responses
		answers["200"] = &huma.Response{Description: "What a dry run has counted", Content: answers["202"].Content}
	}
}

func (a *API) retryDeliveries(ctx context.Context, in *bulkRetryInput) (*TakenJobOutput, error) {
	wanted := BulkRetry{}
	if in.Body != nil {
		wanted = *in.Body
	}
	filter := job.Filter{SubscriptionID: wanted.SubscriptionID, EventID: wanted.EventID, Statuses: []delivery.Status{delivery.StatusRetrying, delivery.StatusDeadLetter}}
	if wanted.Status != "" {
		filter.Statuses = []delivery.Status{delivery.Status(wanted.Status)}
	}
	if err := checkEventType(wanted.EventType); err != nil {
		return nil, err
	}
	if wanted.EventType != "" {
		filter.EventTypes = subscription.Filter{wanted.EventType}
	}
	if err := within(&filter, wanted.Since, wanted.Until); err != nil {
		return nil, err
	}
	return a.takeJob(ctx, jobs.Request{Kind: job.Retry, Mode: job.Original, Filter: filter}, wanted.DryRun)
}

func (a *API) replay(ctx context.Context, in *replayInput) (*TakenJobOutput, error) {
	if in.Body.Mode == "" && !in.Body.DryRun {
		return nil, problem.Invalid("mode", "must be given: original, rerender or missing")
	}
	missing := in.Body.Mode == string(job.Missing)
	if missing && len(in.Body.Statuses) > 0 {
		return nil, problem.Invalid("statuses", "cannot be given with the mode missing, which is about events without a delivery")
	}
	filter := job.Filter{SubscriptionID: in.ID, EventTypes: in.Body.EventTypes}
	for _, status := range in.Body.Statuses {
		filter.Statuses = append(filter.Statuses, delivery.Status(status))
	}
	if len(filter.Statuses) == 0 && !missing {
		filter.Statuses = delivery.RetryableStatuses()
	}
	if len(filter.EventTypes) > 0 {
		fields := problem.Collect("")
		filter.EventTypes.Validate(fields)
		if err := fields.Err(); err != nil {
			return nil, err
		}
	}
	if err := within(&filter, in.Body.Since, in.Body.Until); err != nil {
		return nil, err
	}
	return a.takeJob(ctx, jobs.Request{Kind: job.Replay, Mode: job.Mode(cmp.Or(in.Body.Mode, string(job.Original))), Filter: filter}, in.Body.DryRun)
}

// within sets the time range.
func within(filter *job.Filter, since, until *time.Time) error {
	if since != nil {
		filter.Since = since.UTC()
	}
	if until != nil {
		filter.Until = until.UTC()
	}
	return checkPeriod(since, until)
}

func (a *API) takeJob(ctx context.Context, r jobs.Request, dryRun bool) (*TakenJobOutput, error) {
	by := a.actor(ctx)
	r.Tenant, r.By = ownerOf(ctx), job.Requester{KeyID: by.KeyID, KeyName: by.KeyName, TraceParent: by.TraceParent}
	if dryRun {
		would, err := a.Jobs.DryRun(ctx, r)
		if err != nil {
			return nil, err
		}
		recordFrom(ctx).changedNothing = true
		view := viewJob(would)
		view.ID, view.DryRun = nil, true
		return &TakenJobOutput{Status: http.StatusOK, Body: view}, nil
	}
	return once(ctx, a, http.StatusAccepted, func(ctx context.Context) (*TakenJobOutput, error) {
		j, err := a.Jobs.Begin(ctx, r)
		if err != nil {
			return nil, err
		}
		return &TakenJobOutput{Status: http.StatusAccepted, Location: "/v1/jobs/" + j.ID, Body: viewJob(j)}, nil
	})
}

func (a *API) listJobs(ctx context.Context, in *listInput) (*PageOutput[Job], error) {
	l := a.listOf(ctx, "jobs", in.Paging)
	after, err := l.after()
	if err != nil {
		return nil, err
	}
	found, err := a.Jobs.Store.Jobs(ctx, ownerOf(ctx), after, l.fetch())
	if err != nil {
		return nil, err
	}
	return pageOf(l, found, func(j job.Job) string { return j.ID }, viewJob)
}

func (a *API) getJob(ctx context.Context, in *jobInput) (*JobOutput, error) {
	return jobOutput(a.Jobs.Store.Job(ctx, ownerOf(ctx), in.ID))
}

func (a *API) cancelJob(ctx context.Context, in *jobInput) (*JobOutput, error) {
	return jobOutput(a.Jobs.Cancel(ctx, ownerOf(ctx), in.ID))
}

func jobOutput(j job.Job, err error) (*JobOutput, error) {
	if err != nil {
		return nil, err
	}
	return &JobOutput{viewJob(j)}, nil
}

func viewJob(j job.Job) Job {
	return Job{
		ID: &j.ID, TenantID: string(j.Tenant), Kind: string(j.Kind), Mode: string(j.Mode), Filter: viewJobFilter(j.Filter),
		Status: string(j.Status), StatusReason: unlessEmpty(j.Reason), Found: j.Found(), Done: j.Done,
		Skipped: job.Sum(j.Tally.Skipped), SkippedReasons: counts(j.Tally.Skipped), Failed: job.Sum(j.Tally.Failed), FailedReasons: counts(j.Tally.Failed),
		RequestedBy: JobRequester{j.RequestedBy.KeyID, j.RequestedBy.KeyName},
		CreatedAt:   j.CreatedAt.UTC(), StartedAt: unlessZero(j.StartedAt), FinishedAt: unlessZero(j.FinishedAt), UpdatedAt: j.UpdatedAt.UTC(),
	}
}

func viewJobFilter(f job.Filter) JobFilter {
	view := JobFilter{SubscriptionID: unlessEmpty(f.SubscriptionID), EventID: unlessEmpty(f.EventID), EventTypes: append([]string{}, f.EventTypes...),
		Statuses: []string{}, Since: unlessZero(f.Since), Until: unlessZero(f.Until)}
	for _, status := range f.Statuses {
		view.Statuses = append(view.Statuses, string(status))
	}
	return view
}

func counts(byReason map[string]int) map[string]int {
	if byReason == nil {
		return map[string]int{}
	}
	return byReason
}
