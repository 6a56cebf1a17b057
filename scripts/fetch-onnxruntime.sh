#!/usr/bin/env bash
# Puts the ONNX Runtime shared library where `modelgate serve` looks for it in a checkout, and prints
# its path. It comes out of the pinned wheel of ONNX Runtime, checked by sha256.
set -euo pipefail
cd "$(dirname "$0")/.."

version=1.31.1
folder=.cache/onnxruntime/$version
library=$folder/libonnxruntime.so.$version

machine=$(uname -s)-$(uname -m)
case $machine in
Linux-x86_64)
    platform=manylinux_2_28_x86_64
    sha256=5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f
    ;;
Linux-aarch64)
    platform=manylinux_2_28_aarch64
    sha256=da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3
    ;;
*)
    echo "error: no ONNX Runtime is pinned for $machine." >&2
    echo "Install ONNX Runtime 1.28 or later and set MODELGATE_ONNXRUNTIME to its shared library." >&2
    exit 1
    ;;
esac

if [ ! -s "$library" ]; then
    if ! command -v python3 >/dev/null; then
        echo "error: python3 is needed to fetch ONNX Runtime (on Debian or Ubuntu: apt-get install python3-pip)" >&2
        exit 1
    fi
    echo "fetching ONNX Runtime $version" >&2
    python3 scripts/from-wheel.py --wheel "onnxruntime==$version" --sha256 "$sha256" --platform "$platform" \
        "onnxruntime/LICENSE=$folder/LICENSE" \
        "onnxruntime/ThirdPartyNotices.txt=$folder/ThirdPartyNotices.txt" \
        "onnxruntime/capi/libonnxruntime.so.$version=$library"
fi
echo "$PWD/$library"
