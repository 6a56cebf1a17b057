#!/usr/bin/env bash
# What the tests need beyond the build: published models that are not in the repository, the Python
# clients, an S3 server, and Prometheus. A second run finds all in place and ends at once.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v python3 >/dev/null; then
    echo "error: the tests need python3 with pip (on Debian or Ubuntu: apt-get install python3-pip)" >&2
    exit 1
fi
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "error: the Python clients need Python 3.11 or later, and $(command -v python3) is $(python3 --version)" >&2
    exit 1
fi

# The models are the same files whatever the machine; one platform's wheel is pinned for all.
models=.cache/test-models
python3 scripts/from-wheel.py --wheel magika==1.0.3 --platform manylinux_2_28_x86_64 \
    --sha256 3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529 \
    "magika/models/standard_v3_3/model.onnx=$models/magika/1/model.onnx"
python3 scripts/from-wheel.py --wheel silero-vad==6.2.3 --platform any \
    --sha256 7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8 \
    "silero_vad/data/silero_vad.onnx=$models/silero-vad/1/model.onnx" \
    "silero_vad/data/silero_vad_16k_op15.onnx=$models/silero-vad-16k/1/model.onnx"

scripts/fetch-prometheus.sh >/dev/null

mkdir -p .cache
exec 9>.cache/venv.lock
flock 9

scripts/install-python.sh .cache/venv tests/clients/requirements.txt
# Of its own: it brings other versions of what the clients need.
scripts/install-python.sh .cache/moto tests/moto/requirements.txt
