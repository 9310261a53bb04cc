#!/bin/sh
# SPDX-License-Identifier: MIT
# The report's map against scikit-learn, on its pictures of digits: trustworthiness is the same number, t-SNE's divergence
# no greater. A Python that has it: MOCO_PEER_PYTHON, or build/peers/bin/python, or python3.
for python in "${MOCO_PEER_PYTHON:-}" "${BUILD:-build}/peers/bin/python" python3; do
    [ -n "$python" ] && command -v "$python" >/dev/null 2>&1 || continue
    "$python" -c 'import sklearn.manifold' 2>/dev/null || continue
    exec "$python" "$(dirname "$0")/peer_tsne.py"
done
echo "SKIPPED: no Python with scikit-learn (python3 -m venv build/peers && build/peers/bin/pip install scikit-learn)"
