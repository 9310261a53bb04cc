#!/bin/sh
# SPDX-License-Identifier: MIT
# The report page as a file: well-formed, alone, every number that of metrics.jsonl, hostile names harmless, bounded size.
if ! python3 -c '' 2>/dev/null; then
    echo "SKIPPED: no python3"
    exit 0
fi
exec python3 "$(dirname "$0")/test_report.py"
