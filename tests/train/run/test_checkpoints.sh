#!/bin/sh
# Which checkpoints a run leaves: within an epoch by time, the newest and some on the way, and what they take of the disk.
. "$(dirname "$0")/../judged.sh"
driver=$BUILD/examples/train_imagenet
mkdir "$work/data" "$work/many"
"$BUILD/tests/train/tool_draw" "$work/data" 48 24 && "$BUILD/tests/train/tool_draw" "$work/many" 192 24 || exit 1
tiny="--preset demo --size 16 -b 16 --bn-group-size 8 --moco-k 12 --moco-dim 16 --width 0.125 --threads 1 -j 1 --knn-every 0 --no-report"

run() { "$driver" "$@" >"$work/out" 2>"$work/err" || { fail "status $?: $*"; tail -n 3 "$work/err"; }; }
# left FOLDER NUMBER...: these checkpoints are there and no others
left() {
    folder=$1
    shift
    there=$(ls "$folder" | sed -n 's/^checkpoint_0*\([0-9][0-9]*\)\.safetensors$/\1/p' | sort -n | tr '\n' ' ')
    [ "$there" = "$* " ] || fail "$folder holds $there, not $*"
}

# A long run keeps three and ten on the way, a short one all; who names a number gets that.
run "$work/data" $tiny --epochs 25 --out "$work/a"
left "$work/a" 2 5 8 11 14 17 20 22 23 24
run "$work/data" $tiny --epochs 6 --out "$work/b"
left "$work/b" 0 1 2 3 4 5
run "$work/data" $tiny --epochs 25 --keep 2 --out "$work/c"
left "$work/c" 23 24
run "$work/data" $tiny --epochs 25 --keep 2 --keep-every 10 --out "$work/d"
left "$work/d" 9 19 23 24
# Going on with a run that kept everything removes nothing of it, and says so; naming --keep does.
run "$work/data" $tiny --epochs 25 --keep 0 --max-steps 36 --out "$work/e"
left "$work/e" 0 1 2 3 4 5 6 7 8 9 10 11
run "$work/data" --resume auto --threads 1 --knn-every 0 --no-report --max-steps 54 --out "$work/e"
grep -q "checkpoints of this run.*they stay" "$work/err" || fail "nothing is said of older checkpoints"
left "$work/e" 0 1 2 3 4 5 6 7 8 9 10 11 14 15 16 17
run "$work/data" --resume auto --threads 1 --knn-every 0 --no-report --keep 1 --max-steps 57 --out "$work/e"
left "$work/e" 18

# By time: a run that is killed goes on within the epoch, to the same bytes.
run "$work/many" $tiny --epochs 2 --out "$work/whole"
within=0 tries=0
while [ $within -eq 0 ] && [ $tries -lt 20 ]; do
    tries=$((tries + 1))
    rm -rf "$work/killed"
    "$driver" "$work/many" $tiny --epochs 2 --checkpoint-minutes 0.000001 --out "$work/killed" >/dev/null 2>&1 &
    pid=$!
    # The first file is of the untrained state; any other has taken its place.
    while [ ! -e "$work/killed/checkpoint_0000.safetensors" ] && kill -0 $pid 2>/dev/null; do :; done
    first=$(stat -c %i "$work/killed/checkpoint_0000.safetensors")
    while [ "$(stat -c %i "$work/killed/checkpoint_0000.safetensors")" = "$first" ] && kill -0 $pid 2>/dev/null; do :; done
    kill -KILL $pid 2>/dev/null
    wait $pid 2>/dev/null
    run "$work/many" --resume auto --threads 1 -j 1 --knn-every 0 --no-report --out "$work/killed"
    step=$(sed -n 's/^resumed .* at step //p' "$work/out")
    [ "$((${step:-0} % 12))" -ne 0 ] && within=1
done
[ $within -eq 1 ] || fail "no run of $tries that were killed went on within an epoch"
cmp "$work/whole/checkpoint_0001.safetensors" "$work/killed/checkpoint_0001.safetensors" || fail "a killed run ends elsewhere"
left "$work/killed" 0 1

# What it takes of the disk, before and at the start.
run "$work/data" -b 16 --bn-group-size 8 --moco-k 12 --dry-run --out "$work/none"
grep -q "^disk" "$work/out" && grep -q "14 checkpoints at once" "$work/out" || fail "a dry run does not tell the disk"
grep -q "too little" "$work/out" && [ "$(df -Pk "$work" | awk 'NR == 2 {print $4}')" -gt 10000000 ] && fail "5 GB do not fit"
run "$work/data" -b 16 --bn-group-size 8 --moco-k 12 --keep 0 --epochs 1000000 --dry-run --out "$work/none"
grep -q "too little.*1000001 checkpoints.*--keep" "$work/out" || fail "300 TB fit"
run "$work/data" $tiny --keep 0 --epochs 1000000 --moco-k 100000 --moco-dim 64 --max-steps 1 --out "$work/f"
grep -q "the run will write .* checkpoints" "$work/err" || fail "a run does not say that the disk is too small"
# The size that was told is that of the file, within two parts in a hundred.
told=$(sed -n 's/.*checkpoints of \([0-9.]*\) MB.*/\1/p' "$work/err")
size=$(wc -c <"$work/f/checkpoint_0000.safetensors")
awk "BEGIN { told = ${told:-0} * 1048576; exit !(told > 0.98 * $size && told < 1.02 * $size) }" ||
    fail "told $told MB, and it has $size bytes"
exit $failed
