#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs test_import.py with a Python that has PyTorch and torchvision, if there is one.
here=$(dirname "$0")
for python in /usr/bin/python3 python3; do
    if "$python" -W ignore -c 'import torch, torchvision, numpy' 2>/dev/null; then
        exec "$python" -W ignore "$here/test_import.py" "${BUILD:-build}/tests/golden/tool_import" "$@"
    fi
done
echo "SKIPPED: no python3 with torchvision (Debian: python3-torchvision python3-numpy libopenblas0-pthread)"
