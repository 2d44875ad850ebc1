# Every target installs what it needs (Python packages, Debian packages, Go programs) and shows how far it is.
# Two of them do everything on a fresh machine: make demo, make test.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test check run down image crds bench chaos

PY := .venv/bin
help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: ## a local cluster, the operator, trades, pause and resume, 13 years of replay
	@hack/demo.sh

test: ## everything, on a real API server and a real cluster too
	@hack/test.sh

check: .venv/.stamp ## the fast loop: lint, types, generated files, unit and contract tests
	@hack/test.sh lint unit contract

run: .venv/.stamp ## trade examples/quickstart.yaml here, without a cluster
	@$(PY)/openbell run examples/quickstart.yaml

down: ## remove the cluster and end what was started for it (caches stay: hack/cluster/down.sh --all)
	@hack/cluster/down.sh

image: ## build the image and load it on the local cluster's nodes, if that is up
	@hack/image.sh --load

crds: .venv/.stamp ## write crds/ and what else is generated from the resources' models
	@$(PY)/openbell crds
	@$(PY)/python hack/chart.py

chaos: .venv/.stamp ## the long runs: 2,000 random histories of the engine, 1,000 kills of a runner, 1,000 scenarios at a gateway on each library (about four hours)
	@hack/chaos.sh

bench: .venv/.stamp ## measure the promised numbers, each beside its reference in the same run
	@hack/bench.sh

# The environment is made anew when the lock or the project file has changed.
.venv/.stamp: requirements.lock pyproject.toml
	@hack/bootstrap.sh
	@touch $@
