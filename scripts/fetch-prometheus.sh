#!/usr/bin/env bash
# promtool, which checks and tests the rules under deploy/prometheus, and prometheus, which tests ask
# about real gateways, into .cache/prometheus; with `--all` also alertmanager, for the demonstration.
# Those of the machine where there are any, else those of Debian's packages, unpacked without being
# installed. Prints where promtool is. A second run finds all in place and ends at once.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=.cache/prometheus
mkdir -p "$folder"

# Fetches the programs of the package `$1`: pairs of a name on the path, and the name that we give it.
fetch() {
    local package=$1 pair missing=()
    shift
    for pair in "$@"; do
        if "$folder/${pair#*=}" --version >/dev/null 2>&1; then continue; fi
        if command -v "${pair%=*}" >/dev/null; then
            ln -sf "$(command -v "${pair%=*}")" "$folder/${pair#*=}"
        else
            missing+=("$pair")
        fi
    done
    if [ ${#missing[@]} -eq 0 ]; then return; fi
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        echo "error: ${missing[*]%=*} must be on the path; install Prometheus" >&2
        exit 1
    fi
    local work
    work=$(mktemp -d "$folder/package.XXXXXX")
    # shellcheck disable=SC2064
    trap "rm -rf '$work'" EXIT
    if ! (cd "$work" && apt-get download --quiet "$package" >log 2>&1); then
        cat "$work/log" >&2
        echo "error: apt-get cannot fetch the package $package; does 'apt-get update' help?" >&2
        exit 1
    fi
    dpkg-deb -x "$work"/"$package"_*.deb "$work/unpacked"
    for pair in "${missing[@]}"; do
        mv "$work/unpacked/usr/bin/${pair%=*}" "$folder/${pair#*=}"
    done
    rm -rf "$folder/share-$package"
    mv "$work/unpacked/usr/share" "$folder/share-$package"
    rm -rf "$work"
}

fetch prometheus promtool=promtool prometheus=prometheus
if [ "${1:-}" = --all ]; then
    fetch prometheus-alertmanager prometheus-alertmanager=alertmanager
fi
echo "$folder/promtool"
