#!/usr/bin/env bash
# Builds what the demonstration runs, fetches what it runs beside, and runs it.
#
#   scripts/demo.sh [option of demo/run.py]...
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/fetch-onnxruntime.sh >/dev/null
scripts/fetch-prometheus.sh --all >/dev/null
mkdir -p .cache
exec 9>.cache/venv.lock
flock 9
scripts/install-python.sh .cache/demo demo/requirements.txt
exec 9>&-

# One by one: together they would be built with each other's features.
for package in modelgate modelgate-query loadtest; do
    cargo build --locked --package "$package"
done
target=${CARGO_TARGET_DIR:-target}/debug
exec .cache/demo/bin/python demo/run.py --modelgate "$target/modelgate" \
    --query "$target/modelgate-query" --loadtest "$target/loadtest" "$@"
