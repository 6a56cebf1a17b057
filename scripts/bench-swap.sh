#!/usr/bin/env bash
# Builds the gateway as it ships and pushes a version a second into it under load: 1,000 swaps, with
# quiet blocks in between, take about 40 minutes.
#
#   scripts/bench-swap.sh [--swaps N] [--block N] [--quiet SECONDS] [option of `floor swap`]...
#
# The gateway has all cores, and the load runs where it finds room.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
cargo build --release --locked --package floor
cargo build --release --locked --package modelgate --bins
exec "$target/release/floor" --out "$target" --server-cores "0-$(($(nproc) - 1))" swap "$@"
