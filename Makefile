.DEFAULT_GOAL := help
.PHONY: help demo test lint bench bench-quick fuzz simulate faults

GO ?= go

# The race detector needs a C compiler; without one the tests run without it, and say so. It leaves out SQLite itself, which is C translated to
# Go with locks of its own, and would take ten times as long; SQLite's driver and all our code are watched.
RACE := $(if $(shell command -v $${CC:-cc} || command -v gcc),-race -gcflags=modernc.org/sqlite/lib=-race=false -gcflags=modernc.org/libc/...=-race=false,)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## show the service at work, and check what is shown
	$(GO) run . demo

# The PostgreSQL tests start their own server. Where PostgreSQL is not installed they are left out, and make says so; except in CI.
POSTGRES := $(shell command -v initdb || ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null)
ifeq ($(POSTGRES)$(CI)$(ORDINAVO_TEST_DATABASE_URL),)
export ORDINAVO_TEST_WITHOUT_POSTGRES := 1
endif

# Database tests wait for disks: run one package more than there are cores.
PACKAGES := $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
# Within a package, tests wait for servers of their own.
PARALLEL := $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) * 2)))

# Tests create and drop hundreds of databases of a thousand files each: in memory, if there is plenty. Tests that start whole services stay on
# disk, since waiting for it is part of what they show.
MEMORY := $(shell [ "$$(df --output=avail /dev/shm 2>/dev/null | tail -1)" -ge 8000000 ] 2>/dev/null && echo /dev/shm)

# The simulation runs one goroutine at a time. The race detector makes each seed take seven times as long, and gigabytes for its coroutines, so it
# watches some of them, and all run without it. Packages that start whole services come last, one after the other: side by side they wait for
# each other on a slow machine. Lint has vetted all of them, with all of vet's checks, where tests would make a few of these again. A binary that is
# watched for races would wait a second each time before it exits.
test: export GORACE ?= atexit_sleep_ms=50
test: lint ## lint, then every test with the race detector
	$(if $(RACE),,@echo "no C compiler here: the race detector is off")
	$(if $(ORDINAVO_TEST_WITHOUT_POSTGRES),@echo "no PostgreSQL here: its tests are left out; install Debian's postgresql and pgbouncer for them",)
	$(GO) list ./... | grep -vE '/tests/(e2e|faults|simulation)$$' | $(if $(MEMORY),GOTMPDIR=$${TMPDIR:-/tmp} TMPDIR=$(MEMORY)) xargs $(GO) test -vet=off $(RACE) -timeout 60m -p $(PACKAGES) -parallel $(PARALLEL)
	$(GO) test -vet=off ./tests/simulation
	$(if $(RACE),SIMULATION_RUNS=30 $(GO) test -vet=off $(RACE) -run '^TestSimulation$$' ./tests/simulation)
	$(GO) test -vet=off $(RACE) -timeout 60m -p 1 ./tests/e2e ./tests/faults

lint: ## go vet, staticcheck, exhaustive switches, formatting
	@test -z "$$(gofmt -l .)" || { echo "not formatted:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags faults ./adapters/faults
	$(GO) tool staticcheck ./...
	$(GO) tool exhaustive -d -typeonly '/delivery\.|/subscription\.|/sweep\.|/payload\.|event\.Family' ./...

fuzz: ## each fuzz test for 20 seconds
	@for package in $$($(GO) list ./...); do \
	  for name in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
	    $(GO) test -run '^$$' -fuzz "^$$name$$" -fuzztime 20s $$package || exit 1; \
	  done; \
	done

simulate: ## several processes under faults that seeds decide, for SIMULATION_TIME (10m) or SIMULATION_RUNS seeds
	$(if $(SIMULATION_RUNS),,SIMULATION_TIME=$(or $(SIMULATION_TIME),10m)) $(GO) test -timeout 0 -count 1 -v -run '^TestSimulation$$' ./tests/simulation

bench: ## all measurements of speed on both databases, in about 25 minutes, into bench.json
	$(GO) run ./tests/bench

bench-quick: ## the main ones, in under two minutes
	$(GO) run ./tests/bench -quick

faults: ## break the real binary, its database and its receivers in every way we know, FAULTS_LENGTH (1) of it or FAULTS_ONLY what matches; notes it in docs/reliability.md
	@mkdir -p docs
	$(GO) test -count=1 -timeout 0 ./tests/faults $(if $(FAULTS_ONLY),-run '/$(FAULTS_ONLY)') -full -length $(or $(FAULTS_LENGTH),1) -kills $(or $(FAULTS_KILLS),0) -report $(CURDIR)/docs/reliability.md
