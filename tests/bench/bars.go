package main

import (
	"fmt"
	"slices"
	"strings"
)

// bar is what a figure has to reach; the median of the rounds counts, after a kill the worst.
type bar struct {
	what      string
	must, aim float64
	atMost    bool
	measured  func(*report) (values []float64)
}

// judged is a bar beside what was measured.
type judged struct {
	Bar      string `json:"bar"`
	Measured string `json:"measured"`
	Must     string `json:"must"`
	Aim      string `json:"aim"`
	Verdict  string `json:"verdict"`
}

// of takes the values of a figure.
func of(name string) func(*report) []float64 {
	return func(r *report) []float64 {
		if f := r.find(name); f != nil {
			return f.Values
		}
		return nil
	}
}

func overB(name string) func(*report) []float64 {
	return func(r *report) []float64 {
		if f := r.find(name); f != nil {
			return f.OverB
		}
		return nil
	}
}

// over divides two figures, round by round.
func over(above, below string) func(*report) []float64 {
	return func(r *report) (ratios []float64) {
		a, b := of(above)(r), of(below)(r)
		for i := range min(len(a), len(b)) {
			ratios = append(ratios, a[i]/b[i])
		}
		return ratios
	}
}

// bars of the issue, in its order.
func bars() (list []bar) {
	list = []bar{
		{"delivered, batched by 100, over limit B", 0.60, 0.80, false, overB(name(onPostgres, batched, delivered))},
		{"delivered, one by one from 64 connections, over limit B", 0.40, 0.60, false, overB(name(onPostgres, oneByOne, delivered))},
		{"SQLite, batched, over the same with PostgreSQL", 0.7, 1.2, false, over(name(onSQLite, batched, delivered), name(onPostgres, batched, delivered))},
		{"throughput with 1,000,000 in the backlog over that with none, another lane", 0.85, 0.95, false, of(name(onPostgres, "1,000,000 in the backlog", besideRatio))},
		{"throughput with 1,000,000 in the backlog over that with none, its own drain", 0.85, 0.95, false, of(name(onPostgres, "1,000,000 in the backlog", drainRatio))},
	}
	for _, s := range []setup{onSQLite, onPostgres} {
		list = append(list,
			bar{s.String() + ", POST→arrival at 50/s, p50 in ms", 4, 2, true, of(name(s, at50, fromPost, "p50"))},
			bar{s.String() + ", POST→arrival at 50/s, p99 in ms", 15, 8, true, of(name(s, at50, fromPost, "p99"))})
	}
	for _, s := range []setup{onSQLite, onPostgres} {
		list = append(list, bar{s.String() + ", accepted/s while every receiver is down, over that while all are up", 0.9, 1.0, false, of(name(s, downRatio))})
	}
	for _, s := range []setup{onSQLite, onPostgres} {
		list = append(list, bar{s.String() + ", bytes of database per delivery, all tables and indexes", 3000, 1500, true, of(name(s, batched, bytesEach))})
	}
	list = append(list,
		bar{"SQLite, slowest arrival after kill -9, from the restart, in s", 1, 0.3, true, highest(name(onSQLite, slowest))},
		bar{"PostgreSQL, slowest arrival after kill -9, from the restart, in s", 1, 0.3, true, highest(name(onPostgres, slowest))},
		bar{"PostgreSQL×3, slowest arrival after kill -9 of one, from the kill, in s", 6, 3, true, highest(name(onPostgres3, slowest))},
		bar{"healthy tenants' p99 beside the hanging endpoint, over that without it", 2, 1.2, true, of(name(onPostgres, hangRatio))})
	for _, s := range []setup{onSQLite, onPostgres} {
		list = append(list, bar{s.String() + ", service CPU per 1,000 deliveries over limit A's", 5, 3, true, over(name(s, batched, serviceCPU), limitACPU)})
	}
	list = append(list,
		bar{"throughput while a snapshot is held open over that without", 0.9, 0.97, false, of(name(onPostgres, snapshotRatio))},
		bar{"p50 delay added by a transaction left open in another database, in ms", 1, 0.2, true, of(name(onPostgres, addedDelay))},
		bar{"RSS at full load, any backlog, in MiB", 200, 100, true, highest("peak RSS")})
	for _, s := range []setup{onSQLite, onPostgres} {
		list = append(list, bar{s.String() + ", 10,000 subscriptions, 10 match: time per event over that with 10", 1.2, 1.05, true, of(name(s, manyRatio))})
	}
	return list
}

// judge leaves out what was not measured.
func (r *report) judge() (list []judged) {
	for _, b := range bars() {
		values := b.measured(r)
		if len(values) == 0 {
			continue
		}
		got := median(values)
		reaches := func(bound float64) bool { return got >= bound && !b.atMost || got <= bound && b.atMost }
		j := judged{b.what, fmt.Sprintf("%.3g", got), b.bound(b.must), b.bound(b.aim), "missed"}
		switch {
		case reaches(b.aim):
			j.Verdict = "met, and the aim"
		case reaches(b.must):
			j.Verdict = "met"
		}
		list = append(list, j)
	}
	return list
}

func (b bar) bound(value float64) string {
	return fmt.Sprintf("%s %g", pick(b.atMost, "≤", "≥"), value)
}

// highest is the one highest value of all figures whose names end so.
func highest(ending string) func(*report) []float64 {
	return func(r *report) (found []float64) {
		for _, f := range r.figures {
			if strings.HasSuffix(f.Name, ending) {
				found = append(found, slices.Max(f.Values))
			}
		}
		if len(found) == 0 {
			return nil
		}
		return []float64{slices.Max(found)}
	}
}
