#!/bin/bash
# A training run that is killed, and one whose system calls fail, again and again: whatever happens, the next
# `--resume auto` goes on, and the run ends with the bytes of one that nothing happened to, every step once in its log, no
# unfinished file left. Minutes, and needs strace: not a part of make check. Prints a line for each kind, then the counts.
#
#   tests/campaign/driver_faults.sh [KILLS [CALLS]]     (200 kills; of each system call at most 25 failures)
set -u
kills=${1:-200} calls=${2:-25}
BUILD=${BUILD:-build}
driver=$PWD/$BUILD/examples/train_imagenet
command -v strace >/dev/null || { echo "SKIPPED: strace is not installed"; exit 0; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export GOMP_SPINCOUNT=100
mkdir "$work/data"
"$BUILD/tests/train/tool_draw" "$work/data" 48 24 || exit 1
cd "$work" || exit 1
tiny="--preset demo --size 16 -b 16 --bn-group-size 8 --moco-k 12 --moco-dim 16 --width 0.125 --threads 1 -j 1 --knn-every 2
    --knn-k 3 --checkpoint-minutes 0.002 --epochs 4"
failed=0 tried=0 ended=0

train() { "$@" "$driver" data $tiny --out run --resume auto >out 2>err; }
steps() { sed -n 's/.*"type":"step".*"step":\([0-9]*\).*/\1/p' "$1/metrics.jsonl" | tr '\n' ' '; }
fail() { # what
    echo "FAILED: $1: $(tail -n 1 err | cut -c1-300)"
    failed=$((failed + 1))
}
# The run folder as it is now leads to the end of the untouched run.
goes_on() { # what
    train || { fail "$1: it does not go on (status $?)"; return; }
    cmp -s run/encoder.safetensors whole/encoder.safetensors || fail "$1: another encoder"
    [ "$(steps run)" = "$(steps whole)" ] || fail "$1: the log has the steps $(steps run)"
    [ -z "$(ls -A run | grep '\.tmp-')" ] || fail "$1: unfinished files stay: $(ls -A run | grep '\.tmp-' | head -n 3)"
}

train || { fail "the untouched run"; exit 1; }
mv run whole

begin=$(date +%s%N)
train >/dev/null
length=$((($(date +%s%N) - begin) / 1000000))
for i in $(seq "$kills"); do
    rm -rf run
    for again in 1 2 3; do
        "$driver" data $tiny --out run --resume auto >out 2>err &
        pid=$!
        sleep "$(awk "BEGIN { printf \"%.3f\", (($i * 7919 + $again * 104729) % ($length + 1)) / 1000 }")"
        kill -KILL $pid 2>/dev/null && tried=$((tried + 1))
        wait $pid 2>/dev/null
    done
    goes_on "kill $i"
done
echo "killed $tried times in $kills runs: $failed failed"

injected=0
for fault in pwrite64:EIO pwrite64:ENOSPC write:EIO write:ENOSPC write:EINTR fsync:EIO fdatasync:EIO fallocate:ENOSPC \
    ftruncate:EIO renameat:EIO unlinkat:EIO getdents64:EIO pread64:EIO pread64:EINTR fcntl:ENOLCK mkdir:EACCES lseek:EIO close:EIO; do
    call=${fault%:*} error=${fault#*:} before=$failed
    rm -rf run
    train strace -f -o trace -e "trace=$call"
    count=$(grep -c "$call(" trace)
    [ "$count" -gt 0 ] || { echo "$fault: this run makes no such call"; continue; }
    every=$(((count + calls - 1) / calls)) n=1 here=0
    while [ $n -le "$count" ]; do
        rm -rf run
        train strace -f -o /dev/null -e "trace=$call" -e "inject=$call:error=$error:when=$n"
        status=$?
        case $status in
        0 | 1 | 75) ;;
        127) n=$((n + every)); continue ;; # it hit the system's loader, before the program began
        *) fail "$fault number $n: status $status" ;;
        esac
        [ $status -eq 0 ] || { ended=$((ended + 1)); [ -s err ] || fail "$fault number $n: no sentence"; }
        goes_on "$fault number $n"
        n=$((n + every)) here=$((here + 1))
    done
    injected=$((injected + here))
    echo "$fault: $here of $count failed: $((failed - before)) wrong"
done
echo "$tried kills, $injected failing calls ($ended ended their run with a sentence): $failed wrong"
[ $failed -eq 0 ]
