# `make help` lists the targets. Nothing here needs more than Rust, Python 3 with pip, and make;
# the tests also need Node.js.

# Cargo's own variable; the targets follow it where it is set.
CARGO_TARGET_DIR ?= target
export CARGO_TARGET_DIR

RELEASE_BINARY := $(CARGO_TARGET_DIR)/release/modelgate
TEST_PYTHON := .cache/venv/bin/python
MODELS ?= models
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests serve build build-query test test-rust test-slow test-clients bench \
        bench-floor bench-swap bench-split bench-shadow bench-overload bench-log bench-drift bench-archive \
        test-chaos demo loadtest verify \
        fuzz clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## fetch the ONNX Runtime library (once)
	@scripts/fetch-onnxruntime.sh >/dev/null

serve: build ## build and start the gateway; MODELS=DIR for your own models, ARGS for more flags
	exec $(RELEASE_BINARY) serve --models $(MODELS) $(ARGS)

build: setup ## the release binary
	cargo build --release --locked

build-query: ## modelgate-query: SQL, exports and joins over the prediction log
	cargo build --release --locked --package modelgate-query

setup-tests: setup
	@scripts/setup-tests.sh

test: test-rust test-clients ## every test: Rust, then the gateway driven by real Python clients

# The query engine apart: its crates ask for features of others that the gateway does not have.
test-rust: setup-tests
	cargo test --workspace --exclude modelgate-query --all-features --locked
	cargo test --package modelgate-query --locked

test-slow: setup ## tests that need more of the machine than others: 10,000 connections
	cargo test --all-features --locked --test hostile -- --ignored

# The last of them mounts a file system, which takes root.
test-chaos: setup ## kills, outages and hostile pushes in their long form: about an hour
	cargo test --all-features --locked --test chaos -- --include-ignored --test-threads=1 $(ARGS)

# Drives the development build unless MODELGATE_BIN names another. One process for each client
# library: both register the protocol's messages, and protobuf refuses the second.
test-clients: setup-tests
	@[ -n "$$MODELGATE_BIN" ] || cargo build --locked
	@for clients in with_tritonclient with_kserve with_readers with_prometheus; do \
	    MODELGATE_BIN="$${MODELGATE_BIN:-$(CARGO_TARGET_DIR)/debug/modelgate}" \
	        $(TEST_PYTHON) -m pytest tests/clients/$$clients $(PYTEST_ARGS) || exit 1; \
	done

bench: setup ## criterion benchmarks of the parts and of the whole path
	cargo bench --workspace --all-features --locked

bench-floor: setup ## the gateway beside empty servers and a bare session, as ratios
	scripts/bench-floor.sh $(ARGS)

bench-swap: setup ## 1,000 swaps under load, about 40 minutes; ARGS="--swaps 60" for a short run
	scripts/bench-swap.sh $(ARGS)

bench-split: setup ## a million requests through splits while routes and versions change
	scripts/bench-routes.sh split $(ARGS)

bench-shadow: setup ## the primary's latency with a shadow beside it and without
	scripts/bench-routes.sh shadow $(ARGS)

bench-log: setup ## the prediction log at each level beside none, as ratios
	scripts/bench-floor.sh log $(ARGS)

bench-overload: setup ## ten times the load that a model can take, for a minute; ARGS="--secs 10" for less
	scripts/bench-overload.sh $(ARGS)

bench-drift: setup ## traffic compared with a profile beside none, as ratios
	scripts/bench-floor.sh drift $(ARGS)

bench-archive: setup-tests ## 20 million records made into Parquet, asked and aged out; ARGS="--records 2000000" for less
	cargo bench --all-features --locked --bench archive -- --records 20000000 --python $(TEST_PYTHON) $(ARGS)

demo: ## a model that ages, is trained anew and replaced, under a real Prometheus: about 5 minutes
	scripts/demo.sh $(ARGS)

loadtest: build ## drive a running gateway; ARGS go to the load generator (ARGS=--help)
	cargo build --release --locked --package loadtest
	$(CARGO_TARGET_DIR)/release/loadtest $(ARGS)

# Each command only reads; cargo-deny runs where it is installed.
verify: ## formatting, lints, documentation, layers, licences; writes nothing but build output
	cargo fmt --all --check
	cargo clippy --workspace --all-features --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps --locked
	cargo test --test layers --all-features --locked
	@if cargo deny --version >/dev/null 2>&1; then \
	    echo "cargo deny --locked check bans licenses sources"; \
	    cargo deny --locked check bans licenses sources; \
	else \
	    echo "cargo-deny is not installed: bans, licences and sources were not checked"; \
	fi

FUZZ_SECONDS ?= 600
fuzz: ## each decoder against made-up input for FUZZ_SECONDS (needs cargo-fuzz)
	scripts/fuzz.sh $(FUZZ_SECONDS)

clean: ## remove build output and everything fetched
	cargo clean
	rm -rf .cache
