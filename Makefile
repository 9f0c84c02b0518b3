# The few commands to know. What they do in detail is in tools/setup.sh and `cargo xtask`.

# Outside of the repository, so that every checkout shares one set of compiled dependencies.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dragnet/target
BIN := $(CARGO_TARGET_DIR)/release

.DEFAULT_GOAL := help
.PHONY: help demo cluster test bench setup build

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## build Dragnet and watch it hunt on this machine
	@"$(BIN)/dragnet" up --demo

cluster: setup build ## start a Kubernetes cluster here with the quickstart running, to play with
	@e2e/cluster/play.sh "$(BIN)"

test: setup ## check everything that CI checks
	@cargo --locked xtask verify

bench: setup build ## measure against the yara command and redis-server, and the operator, on this machine
	@"$(BIN)/bench" scan
	@"$(BIN)/bench" kv
	@"$(BIN)/bench" operator

setup: ## install what is missing to build and test (Debian), or say what is
	@tools/setup.sh

# The whole workspace, as the tests do: with a choice of crates, cargo unifies features anew and compiles dependencies twice.
build: ## build the programs
	@tools/setup.sh build
	@cargo build --locked --release --workspace --bins
