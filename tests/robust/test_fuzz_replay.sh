#!/bin/sh
# Replays the corpora of the fuzz targets, every input also cut and changed; any abort or signal fails.
set -eu
cd "$(dirname "$0")/../.."
: "${BUILD:=build}"
for target in json safetensors; do
    printf '%s: ' "$target"
    "$BUILD/fuzz/replay_$target" "tests/fuzz/corpus/$target"
done
