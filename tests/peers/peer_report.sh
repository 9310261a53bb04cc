#!/bin/sh
# SPDX-License-Identifier: MIT
# Report pages in a real browser: headless Chromium. Screenshots stay in BUILD/report-screens.
if ! python3 -c '' 2>/dev/null; then
    echo "SKIPPED: no python3"
    exit 0
fi
exec python3 "$(dirname "$0")/peer_report.py"
