#!/bin/bash
# Ranks over the MPIs that Debian does not carry yet: Open MPI 5 and MPICH 5, from venvs of their own (build/peers-openmpi and
# build/peers-mpich; .ci/run makes them). MPICH 5 twice: its own ABI, and the standard one of MPI 5.
set -u
. tests/train/ranks/mpi.sh
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0
for case in openmpi:mpicc mpich:mpicc mpich:mpicc_abi; do
    mpi_flavour=${case%:*}
    bin=$PWD/build/peers-$mpi_flavour/bin
    [ -x "$bin/${case#*:}" ] || { echo "SKIPPED: no ${case#*:} in $bin"; continue; }
    mpi_cc=$bin/${case#*:} mpi_launch=$bin/mpirun
    (
        PATH=$bin:$PATH
        mpi_module "$work/$case" || exit 1
        for ranks in 2 4; do
            mpi_run $ranks "$BUILD/tests/train/ranks/tool_ranks" "$work/$case/libmoco_mpi.so" $ranks >"$work/said" 2>&1 || exit 1
            grep "^$ranks ranks of .*own thread 1" "$work/said" || exit 1
        done
    ) || { echo "$case: $(cat "$work/said")"; failed=1; }
done
exit $failed
