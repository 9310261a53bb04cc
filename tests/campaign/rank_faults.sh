#!/bin/bash
# Ranks that are lost, cut off, slow or full, in every phase of a step, and ranks of another version or instruction set: every
# run ends, the survivors name the rank that is lost, the state on disk is whole, and a restart on another number of ranks
# ends where an untouched run does; ranks that are unlike are refused by name. Cases are drawn from a seed; prints a line
# for each that went wrong, then the counts. With FOLDER what was done is noted there, and a second call goes on.
#
#   tests/campaign/rank_faults.sh [CASES [SEED [AT ONCE [FOLDER]]]]     (1000, 1, 3)
set -u
cases=${1:-1000} seed=${2:-1} at_once=${3:-3} folder=${4:-}
. tests/train/ranks/mpi.sh
case $BUILD in /*) ;; *) BUILD=$PWD/$BUILD ;; esac
tool=$BUILD/tests/train/ranks/tool_rank_faults
silence=1 last=3
export MPI_DEADLINE=${MPI_DEADLINE:-60}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
results=${folder:-$work}/results
touch "$results" || exit 1
faults=(kill stop late blink slow disk link version isa)
tests/train/ranks/on_links.sh openmpi 1 true >"$work/said" 2>&1 ||
    { echo "not tested here: ranks whose link goes down: $(tail -n 1 "$work/said")"; faults=(${faults[*]/link/}); }
LC_ALL=C sed 's/0\.1\.0/0.1.9/g' "$tool" >"$work/newer" && chmod +x "$work/newer" # as a later libmoco would say
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

# run_case FAULT: the run in which something goes wrong. What each rank says is in files said.PID.
run_case() {
    local runner=(mpi_run) alone=()
    case $1 in
    link) runner=(env MPI_DEADLINE=12 tests/train/ranks/on_links.sh "$flavour") ;;
    version) alone=("$work/newer") ;;
    isa) alone=(env ONEDNN_MAX_CPU_ISA=SSE41 "$tool") ;;
    esac
    [ ${#alone[@]} -gt 0 ] || alone=("$tool")
    "${runner[@]}" $ranks bash -c 'here=$1 who=$2 length=$3; shift 3
        alone=("${@:1:length}"); shift $length
        [ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = "$who" ] && set -- "${alone[@]}" "${@:2}"
        exec "$@" >"$here/said.$$" 2>&1' case "$here" $who ${#alone[@]} "${alone[@]}" \
        "$tool" "$module" "$here/state" $last $silence $1 $who $step $phase >"$here/launcher" 2>&1
}

# What a case must come to: case NUMBER; one line, "ok FAULT" or "FAILED FAULT: why".
one_case() {
    RANDOM=$((seed * 7919 + $1))
    fault=${faults[$(($1 % ${#faults[@]}))]} ranks=$((2 + RANDOM % 2)) step=$((RANDOM % last)) phase=$((RANDOM % 6))
    who=$((RANDOM % ranks)) again=$((1 + RANDOM % 3)) flavour=${flavours[$((RANDOM % ${#flavours[@]}))]}
    [ $fault = disk ] && who=0
    here=$work/case$1
    what="$fault of rank $who of $ranks in step $step, phase $phase, $flavour"
    mkdir "$here" && mpi_find "$flavour"
    module=$work/$flavour/libmoco_mpi.so
    run_case $fault
    status=$?
    for pid in $(pgrep -f "$here/state"); do # what a launcher has left behind
        kill -KILL "$pid" 2>/dev/null
    done
    cat "$here"/said.* "$here/launcher" >"$here/said" 2>/dev/null
    lost="^rank . lost after .*, file whole: .*"
    [ $status -eq 124 ] || [ $status -eq 137 ] && [ $fault != kill ] && [ $fault != link ] && { echo "HANG $what"; return; }
    case $fault in
    blink | slow | disk)
        [ $status -eq 0 ] && [ "$(grep -c '^rank . done' "$here/said")" = $ranks ] ||
            { echo "FAILED $what: status $status: $(head -c 1000 "$here/said")"; return; }
        ;;
    stop | late | link) # of a link also the one that is cut off, which names another; its launcher may wait for ever
        named=$(grep -c "${lost}rank $who (.*) does not answer" "$here/said")
        slow=$(grep -v "^rank $who " "$here/said" | sed -n 's/^rank . lost after \([0-9.]*\) s.*/\1/p' | awk -v most=$((silence + 2)) '$1 > most' | wc -l)
        [ "$slow" = 0 ] || echo "slow $what: $(grep -o 'lost after [0-9.]* s' "$here/said" | tr '\n' ' ')"
        know=$(grep -c "$lost" "$here/said")
        # One that is cut off behind the last step may have had all that it waits for: it cannot know, and waits for others when it leaves.
        [ $step = $((last - 1)) ] && [ $phase = 5 ] && grep -q "^rank $who done" "$here/said" && know=$((know + 1))
        [ $status -ne 0 ] && [ "$named" = $((ranks - 1)) ] && { [ $fault != link ] || [ "$know" = $ranks ]; } ||
            { echo "FAILED $what: status $status, $named name it: $(head -c 2000 "$here/said")"; return; }
        ;;
    version | isa) # by whoever is first: the launcher ends the others
        named=$(grep -c "^rank . .*made alike: \(libmoco is 0.1.[09] on rank 0 and 0.1.[09]\|instruction set is .* on rank 0 and .*\) on rank" "$here/said")
        [ $status -ne 0 ] && [ "$named" -gt 0 ] && [ ! -e "$here/state" ] ||
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
    grep -q "^done $i\$" "$results" && continue
    { said=$(one_case "$i"); printf '%s\ndone %d\n' "$said" "$i" >>"$results"; } &
    [ $((i % at_once)) = 0 ] && wait
done
wait
grep -v '^ok\|^done' "$results"
for fault in "${faults[@]}"; do
    printf '%s %s, ' "$(grep -c "^ok $fault" "$results")" $fault
done
good=$(grep -c '^ok' "$results")
echo "of $cases cases with seed $seed, by ${flavours[*]}: $good good, $(grep -c '^FAILED' "$results") failed, $(grep -c '^HANG' "$results") hung, $(grep -c '^slow' "$results") later than silence + 2 s"
[ "$good" = "$cases" ]
