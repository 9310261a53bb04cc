#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs test_oddities.py with a Python that has Pillow, if there is one.
here=$(dirname "$0")
for python in /usr/bin/python3 python3; do
    if "$python" -c 'import PIL, numpy' 2>/dev/null; then
        exec "$python" "$here/test_oddities.py" "${BUILD:-build}/tests/golden/tool_view" "$@"
    fi
done
echo "SKIPPED: no python3 with Pillow and numpy (Debian: python3-pil python3-numpy)"
