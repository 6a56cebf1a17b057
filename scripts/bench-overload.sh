#!/usr/bin/env bash
# Builds the gateway as it ships and offers it ten times the load that a model of 2 ms can take, for a
# minute. Fails where goodput falls under 0.9 of the peak, answers come after their deadline, or recovery
# takes over 5 s.
#
#   scripts/bench-overload.sh [--secs N] [--times N] [--deadline-ms N] [--batching]
#
# The gateway has all cores, the load the second; --server-cores 0 after the verb gives it the first alone.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
cargo build --release --locked --package floor
cargo build --release --locked --package modelgate --bins
exec "$target/release/floor" --out "$target" --server-cores "0-$(($(nproc) - 1))" overload "$@"
