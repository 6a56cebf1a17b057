#!/usr/bin/env bash
# Builds the gateway as it ships and measures its routes: `split` asks a million times over both
# protocols while routes and versions change (about two minutes), `shadow` compares the primary's
# latency with a shadow beside it and without.
#
#   scripts/bench-routes.sh split|shadow [option of `floor split` or `floor shadow`]...
#
# The gateway has all cores, and the load runs where it finds room.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
cargo build --release --locked --package floor
cargo build --release --locked --package modelgate --bins
exec "$target/release/floor" --out "$target" --server-cores "0-$(($(nproc) - 1))" "$@"
