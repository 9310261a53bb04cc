#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs fuzz targets, under the sanitizers, until they had a number of inputs in total. They take turns of equal time. What was
# done is kept in a folder: the corpora, what was found, and a line for each turn in `turns` (target, inputs, seconds, finds,
# commit, time). Stopped at any time and started again, it goes on; a turn that was killed is not counted.
# `make fuzz-campaign` builds the targets first. FUZZ_INPUTS: how many in total; FUZZ_TURN: seconds of a turn;
# FUZZ_MINUTES: stop after so many, although inputs are left (0: never).
#
#   tests/campaign/fuzz_inputs.sh PROGRAMS FOLDER TARGET...    (PROGRAMS/fuzz_TARGET: the targets; PROGRAMS/commit: of what)
#   tests/campaign/fuzz_inputs.sh --counts FOLDER              (prints the counts, runs nothing)
set -u
: "${FUZZ_INPUTS:=100000000}" "${FUZZ_TURN:=60}" "${FUZZ_MINUTES:=0}"

counts() { # FOLDER
    awk '{ inputs[$1] += $2; seconds[$1] += $3; finds[$1] += $4; all += $2; spent += $3; found += $4 }
        END { for (t in inputs) printf("%s: %d inputs in %d seconds, %d finds\n", t, inputs[t], seconds[t], finds[t]) | "sort"
              close("sort"); printf("all: %d inputs in %.1f hours, %d finds\n", all, spent / 3600, found) }' "$1/turns"
}
if [ "${1:-}" = --counts ]; then
    counts "$2"
    exit
fi
programs=$1 folder=$2
shift 2
mkdir -p "$folder/finds" || exit 1
touch "$folder/turns"
commit=$(cat "$programs/commit" 2>/dev/null || echo unknown)
begin=$(date +%s) running=
trap '[ -n "$running" ] && kill -TERM "$running" 2>/dev/null; stopped=1' INT TERM
stopped=0

total() { awk '{ all += $2 } END { printf "%d\n", all }' "$folder/turns"; }

turn() { # TARGET
    local target=$1 status since inputs finds
    mkdir -p "$folder/corpus/$target"
    since=$(date +%s)
    "$programs/fuzz_$target" -max_total_time="$FUZZ_TURN" -print_final_stats=1 -reload=0 -artifact_prefix="$folder/finds/$target-" \
        "$folder/corpus/$target" "tests/fuzz/corpus/$target" >"$folder/log" 2>&1 &
    running=$!
    wait "$running"
    status=$?
    [ "$stopped" = 1 ] && { wait "$running"; status=$?; } # the wait that the signal ended
    running=
    inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$folder/log")
    finds=0
    if [ "$status" -ne 0 ] && [ "$status" -ne 72 ]; then # 72: interrupted
        finds=1
        cp "$folder/log" "$folder/finds/$target-$since.log"
        echo "$target: FOUND something (status $status): $folder/finds/$target-$since.log"
    fi
    [ -n "$inputs" ] && echo "$target $inputs $(($(date +%s) - since)) $finds $commit $(date -u +%Y-%m-%dT%H:%M:%S)" >>"$folder/turns"
}

while [ "$stopped" = 0 ] && [ "$(total)" -lt "$FUZZ_INPUTS" ]; do
    for target in "$@"; do
        [ "$FUZZ_MINUTES" -gt 0 ] && [ $(($(date +%s) - begin)) -ge $((FUZZ_MINUTES * 60)) ] && stopped=1
        [ "$stopped" = 1 ] && break
        turn "$target"
    done
done
counts "$folder"
[ "$(total)" -ge "$FUZZ_INPUTS" ] || echo "not done: $(total) of $FUZZ_INPUTS inputs; the same command goes on"
[ -z "$(awk '$4 > 0' "$folder/turns")" ]
