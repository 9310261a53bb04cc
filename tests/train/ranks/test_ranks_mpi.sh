#!/bin/bash
# Ranks that are processes: libmoco_mpi.so, built by each MPI that is here from the one file that is installed, trains on 2
# and 4 ranks as tool_ranks wants. moco_comm_open finds the module by name, and refuses what is none with a reason.
set -u
. tests/train/ranks/mpi.sh
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0 ran=0
fail() {
    echo "$*"
    failed=1
}

cat >"$work/user.c" <<'PROGRAM'
#include <moco/moco.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    moco_context *context;
    moco_comm *comm;
    moco_comm_info info;
    moco_comm_info_init(&info);
    if (argc != 2 || moco_context_create(&context, NULL) != MOCO_OK)
        return 1;
    if (moco_comm_open(&comm, context, argv[1], NULL) != MOCO_OK) {
        printf("%s\n", moco_error());
        return 1;
    }
    moco_comm_describe(comm, &info);
    if (info.rank == info.ranks - 1)
        printf("%d ranks by %s\n", info.ranks, info.engine);
    moco_comm_free(comm);
    if (moco_comm_open(&comm, context, argv[1], NULL) != MOCO_ECOMM) /* MPI starts once in a process */
        return 1;
    moco_context_free(context);
    return 0;
}
PROGRAM
cat >"$work/own.c" <<'PROGRAM'
#include <moco/moco.h>
#include <moco/mpi.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    int level, good = 1;
    moco_context *context;
    for (int i = 0; i < 1; i++) {
        MPI_Comm half;
        moco_comm *comm = NULL;
        moco_comm_info info;
        int rank;
        moco_comm_info_init(&info);
        MPI_Init_thread(&argc, &argv, argc > 1 ? MPI_THREAD_SERIALIZED : MPI_THREAD_MULTIPLE, &level);
        MPI_Comm_rank(MPI_COMM_WORLD, &rank);
        MPI_Comm_split(MPI_COMM_WORLD, rank % 2, rank, &half);
        good &= moco_context_create(&context, NULL) == MOCO_OK;
        good &= moco_comm_from_mpi(&comm, context, MPI_COMM_NULL, NULL) == MOCO_ECOMM && comm == NULL;
        good &= moco_comm_from_mpi(&comm, context, half, NULL) == MOCO_OK;
        MPI_Comm_free(&half);
        good &= moco_comm_describe(comm, &info) == MOCO_OK && info.own_thread == (level == MPI_THREAD_MULTIPLE);
        int blocks[2] = {-1, -1};
        blocks[info.rank] = rank;
        good &= info.ranks == 2 && moco_comm_gather(comm, blocks, sizeof blocks[0]) == MOCO_OK;
        good &= blocks[0] == rank % 2 && blocks[1] == rank % 2 + 2;
        moco_comm_free(comm);
        moco_context_free(context);
        MPI_Finalize();
    }
    if (!good)
        printf("a rank is wrong: %s\n", moco_error());
    return !good;
}
PROGRAM
cat >"$work/ring.c" <<'PROGRAM'
#include <moco/moco.h>
#include <mpi.h>
#include <stdio.h>
int main(void)
{
    moco_context *context;
    moco_comm *comm;
    MPI_T_cvar_handle handle;
    int level, index, count, value = -1;
    if (moco_context_create(&context, NULL) != MOCO_OK || moco_comm_open(&comm, context, "mpi", NULL) != MOCO_OK)
        return 1;
    MPI_T_init_thread(MPI_THREAD_SINGLE, &level);
    if (MPI_T_cvar_get_index("coll_libnbc_iallreduce_algorithm", &index) == MPI_SUCCESS &&
        MPI_T_cvar_handle_alloc(index, NULL, &handle, &count) == MPI_SUCCESS)
        MPI_T_cvar_read(handle, &value);
    printf("algorithm %d\n", value);
    moco_comm_free(comm);
    moco_context_free(context);
    return 0;
}
PROGRAM

for flavour in openmpi mpich; do
    mpi_find $flavour || { echo "SKIPPED: no $flavour: $mpi_lack"; continue; }
    lib=$work/$flavour
    mpi_module "$lib" || { fail "$flavour: the module does not compile"; continue; }
    for ranks in 2 4; do
        mpi_run $ranks "$BUILD/tests/train/ranks/tool_ranks" "$lib/libmoco_mpi.so" $ranks >"$work/said" 2>&1 ||
            fail "$flavour, $ranks ranks: $(cat "$work/said")"
        grep "^$ranks ranks of .*own thread 1" "$work/said" || fail "$flavour: no ranks with a thread of their own"
        ran=$((ran + 1))
    done
    "${CC:-cc}" -Iinclude -o "$work/user" "$work/user.c" -L"$lib" -lmoco -Wl,-rpath,"$lib" || exit 1
    mpi_run 2 "$work/user" mpi >"$work/said" 2>&1 || fail "$flavour: moco_comm_open: $(cat "$work/said")"
    grep -qi "^2 ranks by ${flavour%mpi}" "$work/said" || fail "$flavour: moco_comm_open found another: $(cat "$work/said")"
    $mpi_cc -Iinclude -o "$work/own" "$work/own.c" -L"$lib" -lmoco_mpi -lmoco -Wl,-rpath,"$lib" || exit 1
    for level in "" serialized; do
        mpi_run 4 "$work/own" $level >"$work/said" 2>&1 || fail "$flavour $level: moco_comm_from_mpi: $(cat "$work/said")"
    done
    if [ $flavour = openmpi ]; then # sums along a ring, unless somebody has chosen
        $mpi_cc -Iinclude -o "$work/ring" "$work/ring.c" -L"$lib" -lmoco -Wl,-rpath,"$lib" || exit 1
        for chosen in '' 3; do
            OMPI_MCA_coll_libnbc_iallreduce_algorithm=$chosen mpi_run 1 "$work/ring" >"$work/said" 2>&1
            grep -q "^algorithm ${chosen:-1}\$" "$work/said" || fail "sums by another algorithm than ${chosen:-1}: $(cat "$work/said")"
        done
    fi
    refused() { # name, words
        "$work/user" "$1" >"$work/said" && fail "$1 was opened"
        grep -qF -- "$2" "$work/said" || fail "$1: the sentence lacks \"$2\": $(cat "$work/said")"
    }
    refused absent "no libmoco_absent.so in $lib"
    refused ../mpi "no name of a module"
    refused "" "no name of a module"
    sed 's/abi = MOCO_COMM_MODULE_ABI/abi = MOCO_COMM_MODULE_ABI + 1/' src/comm/mpi/moco_mpi.c >"$work/newer.c"
    $mpi_cc -shared -fPIC -Iinclude -o "$lib/libmoco_newer.so" "$work/newer.c" -L"$lib" -lmoco || exit 1
    refused newer "was built for version 2 of libmoco's contract with its engines"
    printf '%0100d\n' 0 >"$lib/libmoco_text.so"
    refused text "cannot be loaded"
    ldd "$BUILD/libmoco.so" | grep -i mpi && fail "libmoco.so knows of MPI"
done
echo "$ran runs of several ranks"
exit $failed
