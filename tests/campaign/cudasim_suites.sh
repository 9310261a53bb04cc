#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs the suites of tests/ops/cudasim/suites.txt on cudasim:0: plain with several orders of threads, blocks and streams
# (MOCO_SIMT_SEED), under AddressSanitizer and UBSan, and those of ops/ under ThreadSanitizer. Each run is a line in
# FOLDER/runs: PART SUITE SEED RESULT SECONDS COMMIT TIME; seconds are the processor's. What is there with the same commit is
# not run again, so that it goes on where it was stopped; a run that was cut short is no line. `make cudasim-campaign` builds
# what it runs. CUDASIM_SEEDS: seeds of the plain part; CUDASIM_MINUTES: begin nothing after so many (0: never);
# CUDASIM_LIMIT: seconds of the processor for a suite, "late" if it takes more.
#
#   tests/campaign/cudasim_suites.sh FOLDER PART=PROGRAMS...     (PART: plain, address or thread; PROGRAMS: of its build)
#   tests/campaign/cudasim_suites.sh --counts FOLDER             (prints the counts, runs nothing)
set -um # -m: a suite has a process group, which is ended as one
: "${CUDASIM_SEEDS:=1 2 3}" "${CUDASIM_MINUTES:=0}" "${CUDASIM_LIMIT:=3600}"

counts() { # FOLDER
    awk '{ runs[$1]++; good[$1] += $4 == "good"; seconds[$1] += $5
        if ($4 != "good") print $1, $2, "with seed", $3 ":", $4, "after", $5, "s" }
        END { for (p in runs) printf("%s: %d of %d good in %d seconds of the processor\n", p, good[p], runs[p], seconds[p]) }' "$1/runs" | sort
}
if [ "${1:-}" = --counts ]; then
    counts "$2"
    exit
fi
folder=$1
shift
mkdir -p "$folder" || exit 1
touch "$folder/runs"
list=tests/ops/cudasim/suites.txt
commit=$(git describe --always --dirty 2>/dev/null || echo unknown)
begin=$(date +%s) running= stopped=0 unbuilt=0
trap 'stopped=1; [ -n "$running" ] && kill -TERM -- "-$running" 2>/dev/null' INT TERM

one() { # PART PROGRAMS SUITE SEED
    local log=$folder/log result status seconds
    grep -q "^$1 $3 $4 .* $commit " "$folder/runs" && return
    [ "$CUDASIM_MINUTES" -gt 0 ] && [ $(($(date +%s) - begin)) -ge $((CUDASIM_MINUTES * 60)) ] && stopped=1
    [ "$stopped" = 1 ] && return
    ( ulimit -t "$CUDASIM_LIMIT" && exec env MOCO_TEST_DEVICE=cudasim:0 MOCO_SIMT_SEED="$4" ASAN_OPTIONS=allocator_may_return_null=1 \
        OMP_WAIT_POLICY=passive bash -c 'TIMEFORMAT="processor %U %S"; time "$1"' - "$2/tests/$3" ) >"$log" 2>&1 &
    running=$!
    wait "$running"
    status=$?
    running=
    [ "$stopped" = 1 ] && return
    seconds=$(sed -n 's/^processor //p' "$log" | awk 'END { printf "%d", $1 + $2 + 0.5 }')
    result=good
    [ "$status" -eq 0 ] || result=BAD
    [ "$status" -ge 128 ] && [ "${seconds:-0}" -ge "$CUDASIM_LIMIT" ] && result=late
    if [ "$result" != good ]; then
        cp "$log" "$folder/$1-$(basename "$3")-$4.log"
        echo "$1 $3 with seed $4: $result (status $status): $folder/$1-$(basename "$3")-$4.log"
    fi
    echo "$1 $3 $4 $result ${seconds:-0} $commit $(date -u +%Y-%m-%dT%H:%M:%S)" >>"$folder/runs"
}

for part in "$@"; do
    programs=${part#*=} part=${part%%=*}
    seeds=1
    [ "$part" = plain ] && seeds=$CUDASIM_SEEDS
    for seed in $seeds; do
        for suite in $(awk '$2 == "quick" || $2 == "full" { print $1 }' $list); do
            [ "$part" = thread ] && [ "${suite#ops/}" = "$suite" ] && continue
            if [ -x "$programs/tests/$suite" ]; then
                one "$part" "$programs" "$suite" "$seed"
            else
                echo "not built, and not run: $programs/tests/$suite"
                unbuilt=1
            fi
        done
    done
done
counts "$folder"
[ "$unbuilt" = 0 ] && ! awk '{ print $4 }' "$folder/runs" | grep -qv good
