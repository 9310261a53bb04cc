# What scripts with ranks of MPI share: which MPI is here, and how its launcher is called on a machine with fewer cores than
# ranks, by root too. Read with `.`; BUILD is set here if it is not.
: "${BUILD:=build}"
export OMP_WAIT_POLICY=passive OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 PRTE_ALLOW_RUN_AS_ROOT=1 \
    PRTE_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_vader_single_copy_mechanism=none

# mpi_find openmpi|mpich: sets mpi_cc and mpi_launch, or mpi_lack and 1.
mpi_find() {
    mpi_cc=mpicc.$1 mpi_launch=mpirun.$1 mpi_flavour=$1
    command -v "$mpi_cc" >/dev/null 2>&1 || mpi_cc=mpicc
    command -v "$mpi_launch" >/dev/null 2>&1 || mpi_launch=mpirun
    mpi_lack="there is no pgrep, by which ranks are counted (Debian: procps)"
    command -v pgrep >/dev/null 2>&1 || return 1
    mpi_lack="there is no mpicc or no mpirun of it (Debian: libopenmpi-dev openmpi-bin, libmpich-dev mpich)"
    command -v "$mpi_cc" >/dev/null 2>&1 && command -v "$mpi_launch" >/dev/null 2>&1 || return 1
    $mpi_cc -show 2>/dev/null | grep -q -- "$1" && $mpi_launch --version 2>&1 | grep -qi "$([ "$1" = openmpi ] && echo 'open.*mpi' || echo hydra)"
}

# mpi_module FOLDER: libmoco.so and a libmoco_mpi.so of this MPI in a folder of their own.
mpi_module() {
    mkdir -p "$1" && cp -P "$BUILD"/libmoco.so* "$1" &&
        $mpi_cc -std=c11 -D_POSIX_C_SOURCE=200809L -fvisibility=hidden -O2 -Wall -Wextra -Werror -Iinclude -shared -fPIC \
            -o "$1/libmoco_mpi.so" src/comm/mpi/moco_mpi.c -L"$1" -lmoco -Wl,-rpath,'$ORIGIN'
}

# mpi_run RANKS COMMAND...: under a deadline, since an MPI that lost a rank may wait for ever. Open MPI gets a folder of its
# own: one mpirun that ends removes the folder of its sessions, which another that begins at that moment then misses.
mpi_run() {
    ranks=$1
    shift
    case $mpi_flavour in
    openmpi)
        sessions=$(mktemp -d /tmp/ompi.XXXX) || return 1
        TMPDIR=$sessions timeout -k 5 "${MPI_DEADLINE:-120}" $mpi_launch --oversubscribe --bind-to none -np "$ranks" "$@"
        set -- $?
        rm -rf "$sessions"
        return $1
        ;;
    *) timeout -k 5 "${MPI_DEADLINE:-120}" $mpi_launch -np "$ranks" "$@" ;;
    esac
}
