#!/bin/bash
# on_links.sh openmpi|mpich RANKS COMMAND...: ranks with a network each, which nothing else uses. Status 77 if there are no
# such networks here. What an MPI that lost a link leaves behind ends with it.
set -u
. tests/train/ranks/mpi.sh
. tests/train/ranks/net.sh
net_enter "$0" "$@" || { echo "$net_lack"; exit 77; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
flavour=$1
shift
mpi_find "$flavour" && net_up "$1" "$work" || exit 77
net_run "$@"
