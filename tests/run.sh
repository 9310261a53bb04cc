#!/bin/sh
# Runs test programs and scripts, several at a time, each under a deadline; prints the output of one only if it failed or skipped, and
# one closing line. A test says "SKIPPED: reason" on a line of its own; with MOCO_TEST_REQUIRE=1 a skip is a failure. What no
# installation could bring, the CPU lacking an instruction set, it says as "not tested here: what": shown, and no failure anywhere.
#
#   [MOCO_TEST_JOBS=N] [MOCO_TEST_DEADLINE=SECONDS] tests/run.sh TEST...    (as many at once as there are processors, at most 4; 600)
set -u

# one FOLDER TEST: runs it, notes in FOLDER how it ended, and prints what is to be seen of it in one piece.
one() {
    log=$(mktemp "$1/log.XXXXXX") || exit 1
    start=$(date +%s)
    timeout -k 10 "$MOCO_TEST_DEADLINE" "$2" >"$log" 2>&1
    status=$?
    times >"$log.times" # the last line is of what this shell has run
    took="$(($(date +%s) - start)) s, $(awk 'END { gsub("[ms]", " "); printf "%.0f", 60 * ($1 + $3) + $2 + $4 }' "$log.times") s of processors"
    reason=$(grep -a '^SKIPPED: ' "$log" | head -n 3)
    {
        if [ $status -ne 0 ]; then
            echo failed >>"$1/ends"
            [ $status -ge 124 ] && echo "deadline or signal: status $status"
            echo "FAIL $2 ($took, status $status)"
            tail -c 6000 "$log"
        elif [ -n "$reason" ]; then
            echo skipped >>"$1/ends"
            echo "skip $2 ($took)"
            echo "$reason"
        else
            echo passed >>"$1/ends"
            echo "ok   $2 ($took)"
            grep -a '^not tested here: ' "$log" | sort -u
        fi
    } >"$log.said"
    flock "$1" cat "$log.said"
    exit 0
}
[ "${1:-}" = --one ] && one "$2" "$3"

: "${BUILD:=build}" "${MOCO_TEST_DEADLINE:=600}" "${MOCO_TEST_JOBS:=$(nproc | awk '{ print $1 < 4 ? $1 : 4 }')}"
export BUILD MOCO_TEST_DEADLINE
# A team of threads that spins while it waits takes the cores from the threads it waits for: on a busy machine tests get
# ten times slower. A policy that the host has set wins.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
start=$(date +%s)
: >"$work/ends"
[ $# -eq 0 ] || printf '%s\0' "$@" | xargs -0 -n 1 -P "$MOCO_TEST_JOBS" "$0" --one "$work"
ended() { grep -c "^$1" "$work/ends"; }
passed=$(ended passed) failed=$(($# - passed - $(ended skipped))) skipped=$(ended skipped) # one that was lost has failed
echo "seconds: $(($(date +%s) - start))"
echo "$passed passed, $failed failed, $skipped skipped"
[ "${MOCO_TEST_REQUIRE:-0}" = 1 ] && [ "$skipped" -gt 0 ] && { echo "skips are failures here (MOCO_TEST_REQUIRE=1)"; exit 1; }
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
