#!/usr/bin/env bash
# Runs every fuzz target for SECONDS (60 unless given) and prints how many
# executions each did and what it found; fails where it found anything.
# Needs cargo-fuzz (cargo install cargo-fuzz); works with a stable compiler.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
export RUSTC_BOOTSTRAP=1
python3 fuzz/seeds.py fuzz/corpus
cargo fuzz build --release

failed=0
for target in json_infer binary_infer protobuf_infer onnx_scan; do
    log=$(mktemp)
    dict=()
    case $target in json_infer | binary_infer) dict=(-dict=fuzz/json.dict) ;; esac
    status=0
    cargo fuzz run --release "$target" -- \
        -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 "${dict[@]}" >"$log" 2>&1 || status=$?
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -1 || true)
    if [ "$status" -eq 0 ]; then
        echo "$target: ${executions:-?} executions in ${seconds} s, ${coverage:-no coverage}, no findings"
    else
        failed=1
        echo "$target: FOUND something after ${executions:-?} executions (exit status $status):"
        tail -40 "$log"
    fi
    rm -f "$log"
done
exit "$failed"
