#!/usr/bin/env bash
# Installs what a file names into a Python environment of its own, unless it is there:
#
#   scripts/install-python.sh ENVIRONMENT REQUIREMENTS
set -euo pipefail
cd "$(dirname "$0")/.."

environment=$1 requirements=$2
stamp=$environment/installed-requirements.txt
if cmp -s "$requirements" "$stamp"; then exit; fi
# Without pip inside: Debian's python3 has no ensurepip unless python3-venv is installed, and pip can
# install into another environment.
python3 -m venv --clear --without-pip "$environment"
echo "installing $requirements" >&2
python3 -m pip --python "$environment/bin/python" install --quiet --disable-pip-version-check \
    --requirement "$requirements"
cp "$requirements" "$stamp"
