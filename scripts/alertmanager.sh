#!/usr/bin/env bash
# Runs Alertmanager as scripts/fetch-prometheus.sh has fetched it. Debian's looks for its templates
# under /usr/share and nowhere else: where they are not installed it sees those of the package there,
# in a file system of its own, which takes no root where user namespaces are allowed.
set -euo pipefail

folder=$(cd "$(dirname "$0")/.." && pwd)/.cache/prometheus
program=$folder/alertmanager
if [ -f /usr/share/prometheus/alertmanager/default.tmpl ]; then
    exec "$program" "$@"
fi
if ! unshare --user --map-root-user --mount true 2>/dev/null; then
    echo "error: Alertmanager needs its templates: apt-get install prometheus-alertmanager" >&2
    exit 1
fi
# shellcheck disable=SC2016
exec unshare --user --map-root-user --mount sh -c \
    'mount --bind "$1" /usr/share && shift && exec "$@"' sh \
    "$folder/share-prometheus-alertmanager" "$program" "$@"
