#!/bin/sh
# SPDX-License-Identifier: MIT
# All 200 real JPEGs, 20 parameter sets each, on every instruction set, against Pillow and torchvision (a minute).
exec "$(dirname "$0")/../golden/test_pillow.sh" --images 0 --draws 20 --colour-step 1
