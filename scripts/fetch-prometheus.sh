#!/usr/bin/env bash
# promtool, which checks and tests the rules under deploy/prometheus, into .cache/prometheus: that of
# the machine where there is one, else Debian's package, unpacked without being installed. Prints
# where it is. A second run finds it in place and ends at once.
set -euo pipefail
cd "$(dirname "$0")/.."

promtool=.cache/prometheus/promtool
if [ -x "$promtool" ] && "$promtool" --version >/dev/null 2>&1; then
    echo "$promtool"
    exit
fi
mkdir -p .cache/prometheus
if installed=$(command -v promtool); then
    ln -sf "$installed" "$promtool"
    echo "$promtool"
    exit
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo "error: the tests of rules need promtool; install Prometheus, so that it is on the path" >&2
    exit 1
fi
work=$(mktemp -d .cache/prometheus/package.XXXXXX)
trap 'rm -rf "$work"' EXIT
if ! (cd "$work" && apt-get download --quiet prometheus >log 2>&1); then
    cat "$work/log" >&2
    echo "error: apt-get cannot fetch the package prometheus; does 'apt-get update' help?" >&2
    exit 1
fi
dpkg-deb -x "$work"/prometheus_*.deb "$work/unpacked"
mv "$work/unpacked/usr/bin/promtool" "$promtool"
echo "$promtool"
