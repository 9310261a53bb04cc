#!/bin/sh
# train_imagenet where the device is a step ahead of it (cudasim:0): every step has its line, with the numbers of that step, once;
# a run in parts, one that a signal stops and one that is killed end in the bytes of one that is whole; the batch of a step that
# fails is not counted.
. "$(dirname "$0")/../judged.sh"
. "$(dirname "$0")/../cudasim_module.sh"
mkdir "$work/data"
"$BUILD/tests/train/tool_draw" "$work/data" 72 36 || exit 1 # 6 steps an epoch
small="--preset demo --size 16 --width 0.0625 --threads 1 -j 1 --batch-size 12 --bn-group-size 12 --moco-k 12 --moco-dim 8 --knn-every 0
    --no-report"
driver="$BUILD/examples/train_imagenet $work/data --device cudasim:0 $small"
count=$("$BUILD/examples/train_imagenet" "$work/data" $small --epochs 1 --out "$work/count" >/dev/null 2>&1 && grep -c '"type":"step"' "$work/count/metrics.jsonl")
steps=$((2 * count))
last=checkpoint_0001.safetensors
[ "$count" -ge 4 ] || fail "$count steps an epoch"

# Numbers of the steps without those of the clock.
numbers() {
    grep '"type":"step"' "$1/metrics.jsonl" | sed 's/,"img_per_s":[^,}]*,"data_wait":[^,}]*//'
}
# check FOLDER: the whole run's lines, and its bytes
check() {
    numbers "$1" >"$work/lines"
    cmp -s "$work/lines" "$work/expected" || { fail "$1: the lines of its steps are others"; diff "$work/lines" "$work/expected"; }
    cmp "$1/$last" "$work/whole/$last" || fail "$1 ends elsewhere"
}

# One step a process: nothing is ever in flight when a line is written.
i=0
while [ $i -lt $steps ]; do
    i=$((i + 1))
    expect 0 "" $driver --epochs 2 --max-steps $i --resume auto --out "$work/single"
done
numbers "$work/single" >"$work/expected"
[ "$(wc -l <"$work/expected")" -eq $steps ] || fail "not $steps steps"
expect 0 "" $driver --epochs 2 --out "$work/whole"
check "$work/single"
expect 0 "" $driver --epochs 2 --max-steps $((count - 1)) --out "$work/parts"
expect 0 "" $driver --epochs 2 --max-steps $((count + 1)) --resume auto --out "$work/parts"
expect 0 "" $driver --epochs 2 --resume auto --out "$work/parts"
check "$work/parts"
# A checkpoint after every step has each step land at once.
expect 0 "" $driver --epochs 2 --checkpoint-minutes 0.0000001 --out "$work/often"
check "$work/often"

# Stopped by a signal, and killed, wherever it is: the log never lacks a step that a checkpoint has.
for signal in TERM KILL; do
    expected=75
    [ $signal = KILL ] && expected=137
    $driver --epochs 2 --checkpoint-minutes 0.0000001 --out "$work/$signal" >"$work/out" 2>"$work/err" &
    pid=$!
    while kill -0 $pid 2>/dev/null && ! grep -q '"step":3,' "$work/$signal/metrics.jsonl" 2>/dev/null; do :; done
    kill -$signal $pid 2>/dev/null
    wait $pid 2>/dev/null
    status=$?
    [ $status -eq $expected ] || [ $status -eq 0 ] || { fail "status $status after SIG$signal"; cat "$work/err"; }
    [ $status -eq 0 ] || expect 0 "" $driver --epochs 2 --resume auto --out "$work/$signal"
    check "$work/$signal"
done

# A step that fails has no line, and neither has the one behind it, which was given before that was known.
# Where every step lands before a checkpoint, none is behind it: the same lines.
expect 1 "moco_trainer_step: .* is not finite" $driver --epochs 2 --lr 1e6 --out "$work/fails"
expect 1 "moco_trainer_wait: .* is not finite" $driver --epochs 2 --lr 1e6 --checkpoint-minutes 0.0000001 --out "$work/alone"
numbers "$work/fails" >"$work/lines"
lines=$(wc -l <"$work/lines")
[ "$lines" -gt 0 ] && [ "$lines" -lt $((steps - 1)) ] || fail "$lines of $steps steps have lines, and one has failed"
numbers "$work/alone" | cmp -s - "$work/lines" || fail "a step that fails, or the one behind it, has a line"
exit $failed
