#!/bin/sh
# SPDX-License-Identifier: MIT
# Archives with 64-bit sizes, as those of 4 GiB and more have them, in files that are small: ours by Python's zipfile, by
# torch.load and by ourselves; zipfile's by ours. tests/campaign/large_files.py does the same with files that are large.
set -u
: "${BUILD:=build}"
here=$(dirname "$0")
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
"$BUILD/tests/golden/tool_zip64" "$work/ours.pth" || exit 1
for python in /usr/bin/python3 python3; do
    "$python" -W ignore -c 'import torch' 2>/dev/null || continue
    "$python" -W ignore "$here/zip64.py" "$BUILD/tests/golden/tool_weights" "$work"
    exit
done
echo "SKIPPED: no python3 with torch (Debian: python3-torch)"
