#!/usr/bin/env bash
# Builds the gateway as it ships, and the benches beside it, and runs one bench or all.
#
#   scripts/bench-floor.sh [throughput|isolation|batching|log|drift|all] [option of `floor`]...
#
# Needs two cores, wrk and h2load: apt-get install wrk nghttp2-client
set -euo pipefail
cd "$(dirname "$0")/.."

scenario=${1:-all}
[ $# -eq 0 ] || shift

target=${CARGO_TARGET_DIR:-target}
# The gateway by itself, because features that the benches ask of shared
# packages (tonic's transport) would be built into it too.
cargo build --release --locked --package floor --package loadtest
cargo build --release --locked --package modelgate --bins --example raw_run

if [ "$scenario" = all ]; then
    scenarios=(throughput isolation batching)
else
    scenarios=("$scenario")
fi
missed=0
for scenario in "${scenarios[@]}"; do
    echo "== $scenario"
    "$target/release/floor" --out "$target" "$scenario" "$@" || missed=1
done
exit "$missed"
