#!/bin/sh
# SPDX-License-Identifier: MIT
# All 200 real JPEGs, 20 parameter sets each, on every instruction set, against Pillow and torchvision (minutes).
exec /usr/bin/python3 "$(dirname "$0")/../golden/test_pillow.py" "${BUILD:-build}/tests/golden/tool_view" --images 0 --draws 20
