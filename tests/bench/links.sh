#!/bin/bash
# How long each MPI that is here takes for the sums of a step over links of a limited rate, by each way that it can be told
# to take: JSON lines of build/bench/sums, with the way. Then steps of Open MPI's ranks, beside what the model says of them.
# MPIs are Debian's, and those of build/peers-* (.ci/run).
#
#   tests/bench/links.sh [RATE IN Gb/s [MB [TIMES [IMAGES A RANK]]]]     (0.2, 28, 3, 16)      MPIS: some of them only, or none
set -u
rate=${1:-0.2} mb=${2:-28} times=${3:-3} images=${4:-16}
. tests/train/ranks/mpi.sh
. tests/train/ranks/net.sh
net_enter "$0" "$@" || { echo "SKIPPED: $net_lack"; exit 0; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
net_up 4 "$work" || exit 1
[ "$rate" = 0 ] || net_rate 4 "${rate}gbit" || exit 1

measure() { # way [VARIABLE=VALUE]
    local ranks said
    for ranks in 2 4; do
        said=$([ $# -gt 1 ] && export "$2"
            MPI_DEADLINE=30 net_run $ranks "$BUILD/bench/sums" "$work/$mpi/libmoco_mpi.so" --mb "$mb" --bucket 7 --times "$times" --gbit "$rate" 2>"$work/why" | grep '^{')
        [ -n "$said" ] && echo "${said%\}},\"way\":\"$1\"}" || echo "{\"bench\":\"sums\",\"engine\":\"$mpi\",\"ranks\":$ranks,\"way\":\"$1\",\"failed\":\"$(tail -n 1 "$work/why" | tr -d '"')\"}"
    done
}
path=$PATH
for mpi in ${MPIS-openmpi mpich peers-openmpi peers-mpich}; do
    PATH=$([ -d "build/$mpi/bin" ] && echo "$PWD/build/$mpi/bin:")$path
    case $mpi in
    peers-*) mpi_flavour=${mpi#peers-} mpi_cc=$PWD/build/$mpi/bin/mpicc mpi_launch=$PWD/build/$mpi/bin/mpirun ;;
    *) mpi_find $mpi || { echo "SKIPPED: no $mpi: $mpi_lack"; continue; } ;;
    esac
    [ -x "$(command -v "$mpi_cc")" ] && mpi_module "$work/$mpi" || { echo "SKIPPED: no $mpi"; continue; }
    measure "as libmoco_mpi asks" # of Open MPI its ring; what it does left to itself needs a module without choose_ring
    if [ $mpi_flavour = openmpi ]; then
        measure rabenseifner OMPI_MCA_coll_libnbc_iallreduce_algorithm=3
    else
        measure ring MPIR_CVAR_IALLREDUCE_INTRA_ALGORITHM=tsp_ring
        measure "reduce-scatter, all-gather" MPIR_CVAR_IALLREDUCE_INTRA_ALGORITHM=sched_reduce_scatter_allgather
    fi
done

mpi_find openmpi && { [ -d "$work/openmpi" ] || mpi_module "$work/openmpi"; } || exit 0
for ranks in 1 2 3 4; do
    MPI_DEADLINE=120 net_run $ranks "$BUILD/bench/ranks" --module "$work/openmpi/libmoco_mpi.so" --link e0 --arch resnet50 --size 32 \
        --batch $((images * ranks)) --group 16 --steps "$times" | grep '^{' | tee "$work/step$ranks"
done
alone=$(sed 's/.*"best_ms":\([0-9.]*\).*/\1/' "$work/step1")
tests/bench/scaling_model.py --rate "$(awk -v ms="$alone" -v n="$images" 'BEGIN { print 1e3 * n / ms }')" --images "$images" --launch 16 --gbit "$rate" --ranks 1,2,3,4
