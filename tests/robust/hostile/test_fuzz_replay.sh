#!/bin/sh
# Replays the corpora of the fuzz targets, every input also cut and changed; any abort or signal fails.
set -eu
cd "$(dirname "$0")/../../.."
: "${BUILD:=build}"
if [ ! -d /proc/self/fd ]; then # where the targets' file in memory has its path
    echo "SKIPPED: /proc is not mounted"
    exit 0
fi
for source in tests/fuzz/fuzz_*.c; do
    target=$(basename "$source" .c)
    target=${target#fuzz_}
    printf '%s: ' "$target"
    "$BUILD/fuzz/replay_$target" "tests/fuzz/corpus/$target"
done
