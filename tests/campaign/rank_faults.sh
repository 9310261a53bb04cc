#!/bin/bash
# Ranks that are lost, slow or full, in every phase of a step: every run ends, the survivors name the rank that is lost, the
# state on disk is whole, and a restart on another number of ranks ends where an untouched run does. Cases are drawn from a
# seed; prints a line for each that went wrong, then the counts.
#
#   tests/campaign/rank_faults.sh [CASES [SEED [AT ONCE]]]     (1000, 1, 3)
set -u
cases=${1:-1000} seed=${2:-1} at_once=${3:-3}
. tests/train/ranks/mpi.sh
tool=$BUILD/tests/train/ranks/tool_rank_faults
silence=1 last=3
export MPI_DEADLINE=${MPI_DEADLINE:-60}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
flavours=()
for flavour in openmpi mpich; do
    if mpi_find $flavour; then
        mpi_module "$work/$flavour" || exit 1
        flavours+=($flavour)
    else
        echo "SKIPPED: no $flavour: $mpi_lack"
    fi
done
[ ${#flavours[@]} -gt 0 ] || exit 0
"$tool" "$work/${flavours[0]}/libmoco_mpi.so" "$work/whole" $last $silence >"$work/said" 2>&1 ||
    { mpi_find "${flavours[0]}"; mpi_run 1 "$tool" "$work/${flavours[0]}/libmoco_mpi.so" "$work/whole" $last $silence || exit 1; }

# What a case must come to: case NUMBER; one line, "ok FAULT" or "FAILED FAULT: why".
one_case() {
    RANDOM=$((seed * 7919 + $1))
    faults=(kill stop late blink slow disk)
    fault=${faults[$((RANDOM % 6))]} ranks=$((2 + RANDOM % 2)) step=$((RANDOM % last)) phase=$((RANDOM % 6))
    who=$((RANDOM % ranks)) again=$((1 + RANDOM % 3)) flavour=${flavours[$((RANDOM % ${#flavours[@]}))]}
    [ $fault = disk ] && who=0
    here=$work/case$1
    what="$fault of rank $who of $ranks in step $step, phase $phase, $flavour"
    mkdir "$here" && mpi_find "$flavour"
    module=$work/$flavour/libmoco_mpi.so
    mpi_run $ranks "$tool" "$module" "$here/state" $last $silence $fault $who $step $phase >"$here/said" 2>&1
    status=$?
    for pid in $(pgrep -f "$here/state"); do # what a launcher has left behind
        kill -KILL "$pid" 2>/dev/null
    done
    [ $status -eq 124 ] || [ $status -eq 137 ] && [ $fault != kill ] && { echo "HANG $what"; return; }
    case $fault in
    blink | slow | disk)
        [ $status -eq 0 ] && [ "$(grep -c '^rank . done' "$here/said")" = $ranks ] ||
            { echo "FAILED $what: status $status: $(head -c 1000 "$here/said")"; return; }
        ;;
    stop | late)
        named=$(grep -c "^rank . lost after .*, file whole: .*rank $who (.*) does not answer" "$here/said")
        slow=$(grep -v "^rank $who " "$here/said" | sed -n 's/^rank . lost after \([0-9.]*\) s.*/\1/p' | awk -v most=$((silence + 2)) '$1 > most' | wc -l)
        [ "$slow" = 0 ] || echo "slow $what: $(grep -o 'lost after [0-9.]* s' "$here/said" | tr '\n' ' ')"
        [ $status -ne 0 ] && [ "$named" = $((ranks - 1)) ] ||
            { echo "FAILED $what: status $status, $named name it: $(head -c 2000 "$here/said")"; return; }
        ;;
    kill) [ $status -ne 0 ] || { echo "FAILED $what: status 0"; return; } ;;
    esac
    mpi_run $again "$tool" "$module" "$here/state" $last $silence >"$here/said" 2>&1 ||
        { echo "FAILED $what: it does not go on on $again: $(head -c 1000 "$here/said")"; return; }
    "$tool" same "$here/state" "$work/whole" >"$here/said" 2>&1 ||
        { echo "FAILED $what: another end on $again: $(head -c 300 "$here/said")"; return; }
    rm -rf "$here"
    echo "ok $fault"
}

for i in $(seq "$cases"); do
    one_case "$i" >>"$work/results" &
    [ $((i % at_once)) = 0 ] && wait
done
wait
grep -v '^ok' "$work/results"
for fault in kill stop late blink slow disk; do
    printf '%s %s, ' "$(grep -c "^ok $fault" "$work/results")" $fault
done
good=$(grep -c '^ok' "$work/results")
echo "of $cases cases with seed $seed, by ${flavours[*]}: $good good, $(grep -c '^FAILED' "$work/results") failed, $(grep -c '^HANG' "$work/results") hung, $(grep -c '^slow' "$work/results") later than silence + 2 s"
[ "$good" = "$cases" ]
