#!/bin/sh
# SPDX-License-Identifier: MIT
# Event files read by the tensorboard package: every scalar of a run that was interrupted is there once, with the value of
# metrics.jsonl. A Python that has it: MOCO_PEER_PYTHON, or build/peers/bin/python, or python3.
for python in "${MOCO_PEER_PYTHON:-}" "${BUILD:-build}/peers/bin/python" python3; do
    [ -n "$python" ] && command -v "$python" >/dev/null 2>&1 || continue
    "$python" -c 'import tensorboard.backend.event_processing.event_accumulator' 2>/dev/null || continue
    exec "$python" "$(dirname "$0")/peer_tensorboard.py"
done
echo "SKIPPED: no Python with the tensorboard package (python3 -m venv build/peers && build/peers/bin/pip install tensorboard)"
