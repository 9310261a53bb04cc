#!/bin/sh
# SPDX-License-Identifier: MIT
# The judge of learning curves passes curves that agree and fails those that do not.
here=$(dirname "$0")
if ! python3 -c '' 2>/dev/null; then
    echo "SKIPPED: no python3"
    exit 0
fi
exec python3 "$here/curve_check.py" --self-test
