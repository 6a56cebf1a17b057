#!/usr/bin/env bash
# promtool, which checks and tests the rules under deploy/prometheus, and prometheus, which tests ask
# about real gateways, into .cache/prometheus: those of the machine where there are any, else Debian's
# package, unpacked without being installed. Prints where promtool is. A second run finds both in
# place and ends at once.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=.cache/prometheus
programs="promtool prometheus"
are_there() {
    for program in $programs; do
        "$folder/$program" --version >/dev/null 2>&1 || return 1
    done
}
if are_there; then
    echo "$folder/promtool"
    exit
fi
mkdir -p "$folder"
if command -v promtool >/dev/null && command -v prometheus >/dev/null; then
    for program in $programs; do
        ln -sf "$(command -v "$program")" "$folder/$program"
    done
    echo "$folder/promtool"
    exit
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo "error: the tests of rules need Prometheus; install it, so that promtool and prometheus are on the path" >&2
    exit 1
fi
work=$(mktemp -d "$folder/package.XXXXXX")
trap 'rm -rf "$work"' EXIT
if ! (cd "$work" && apt-get download --quiet prometheus >log 2>&1); then
    cat "$work/log" >&2
    echo "error: apt-get cannot fetch the package prometheus; does 'apt-get update' help?" >&2
    exit 1
fi
dpkg-deb -x "$work"/prometheus_*.deb "$work/unpacked"
for program in $programs; do
    mv "$work/unpacked/usr/bin/$program" "$folder/$program"
done
echo "$folder/promtool"
