#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs test_weights.py with a Python that has PyTorch, if there is one.
here=$(dirname "$0")
for python in /usr/bin/python3 python3; do
    if "$python" -c 'import torch, numpy' 2>/dev/null; then
        exec "$python" "$here/test_weights.py" "${BUILD:-build}/tests/golden/tool_weights" "$@"
    fi
done
echo "SKIPPED: no python3 with PyTorch (Debian: python3-torch python3-numpy libopenblas0-pthread)"
