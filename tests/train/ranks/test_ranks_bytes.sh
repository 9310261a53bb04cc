#!/bin/bash
# What a network carries of a step: each rank has a network of its own, whose device counts. 2 and 4 ranks hand to MPI what
# docs/scaling.md says, and send what sums and gathers take in the least number of bytes, both within 1 %, headers and what
# TCP sends again left out. It bites: told to sum by recursive doubling, 4 ranks send 35 % too many. Open MPI only: the MPICH
# of Debian 12 does not always come back from MPI_Finalize over TCP (docs/ranks.md).
set -u
. tests/train/ranks/mpi.sh
. tests/train/ranks/net.sh
mpi_find openmpi || { echo "SKIPPED: no Open MPI: $mpi_lack"; exit 0; }
net_enter "$0" "$@" || { echo "not tested here: bytes on the network: $net_lack"; exit 0; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
net_up 4 "$work" && mpi_module "$work/mpi" || exit 1
for ranks in 2 4; do
    net_run $ranks "$BUILD/bench/ranks" --module "$work/mpi/libmoco_mpi.so" --link e0 --arch resnet18 --size 32 --batch 16 \
        --group 4 --steps 1 >"$work/said" 2>&1 || { cat "$work/said"; failed=1; }
    grep '^{' "$work/said" >"$work/line"
    python3 - "$work/line" $ranks <<'PYTHON' || failed=1
import json, sys
line = json.loads(open(sys.argv[1]).read())
print(line)
assert line["ranks"] == int(sys.argv[2]) and line["model_bytes"] > 46e6, "not these ranks, or not their gradients"
for ratio in ("bytes_ratio", "wire_ratio"):
    assert abs(line[ratio] - 1) <= 0.01, ratio
PYTHON
done
exit $failed
