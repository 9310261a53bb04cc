#!/bin/sh
# The library's random numbers, docs/randomness.md and a second implementation in Python say the same.
set -u
if ! command -v python3 >/dev/null 2>&1; then
    echo "SKIPPED: python3 is not here"
    exit 0
fi
exec python3 tests/golden/moco_random.py --check "${BUILD:-build}/tests/golden/tool_random" docs/randomness.md
