.DEFAULT_GOAL := help
.PHONY: help demo test lint bench fuzz

GO ?= go

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## show the service at work, and check what is shown
	$(GO) run . demo

test: lint ## lint, then every test with the race detector
	$(GO) test -race -timeout 15m ./...

lint: ## go vet, staticcheck, exhaustive switches, formatting
	@test -z "$$(gofmt -l .)" || { echo "not formatted:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) tool exhaustive -d -typeonly '/delivery\.|/subscription\.|/sweep\.|/payload\.|event\.Family' ./...

fuzz: ## each fuzz test for 20 seconds
	@for package in $$($(GO) list ./...); do \
	  for name in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
	    $(GO) test -run '^$$' -fuzz "^$$name$$" -fuzztime 20s $$package || exit 1; \
	  done; \
	done

bench: ## throughput and latency come with the PostgreSQL adapter
	@echo "make bench comes with the PostgreSQL adapter: its figures are ratios between the two databases"
