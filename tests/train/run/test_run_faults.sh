#!/bin/sh
# A run folder whose disk or network fails for a moment, fills up, or was left by a killed run: the program ends with a
# sentence, loses no step, starts nothing over what is there; metrics.jsonl has every step once.
. "$(dirname "$0")/../judged.sh"
driver=$BUILD/examples/train_imagenet
mkdir "$work/data"
"$BUILD/tests/train/tool_draw" "$work/data" 48 24 || exit 1
${CC:-cc} -shared -fPIC -O1 -o "$work/faults.so" "$(dirname "$0")/faulty_calls_preload.c" -ldl || exit 1
tiny="--preset demo --size 16 --batch-size 16 --bn-group-size 8 --moco-k 40 --moco-dim 16 --width 0.125 --threads 1 -p 1
    --knn-every 0 --no-report"
faulty() { # CALL PATH ERRNO AFTER TIMES COMMAND...
    call=$1 path=$2 errno=$3 after=$4 times=$5
    shift 5
    LD_PRELOAD="$work/faults.so" FAULT_CALL=$call FAULT_PATH=$path FAULT_ERRNO=$errno FAULT_AFTER=$after \
        FAULT_TIMES=$times "$@"
}
steps() { grep '"type":"step"' "$1/metrics.jsonl" | sed 's/.*"step":\([0-9]*\),.*/\1/' | tr '\n' ' '; }
whole() { # FOLDER STEPS: each once, in order, and nothing that is no line
    [ "$(steps "$1")" = "$(seq "$2" | tr '\n' ' ')" ] || fail "metrics.jsonl of $1 has the steps $(steps "$1")"
    [ "$(grep -c . "$1/metrics.jsonl")" -eq "$(grep -c '^{"type":.*}$' "$1/metrics.jsonl")" ] ||
        fail "metrics.jsonl of $1 has lines that are no JSON objects"
}
sum() { cksum "$1"/checkpoint_* "$1/metrics.jsonl"; }

expect 0 "" $driver "$work/data" $tiny --epochs 4 --out "$work/whole"
expect 0 "" $driver "$work/data" $tiny --epochs 4 --max-steps 9 --out "$work/a"
before=$(sum "$work/a")
EIO=5 EACCES=13 ENOSPC=28

# A folder that cannot be listed, at once or half-way, is no empty folder; what cannot be read is not damaged.
for call in opendir readdir; do
    for reason in $EIO $EACCES; do
        expect 1 "cannot be listed" faulty $call "$work/a" $reason 0 99 $driver "$work/data" $tiny --epochs 4 --resume auto \
            --out "$work/a"
    done
    expect 1 "cannot be listed" faulty $call "$work/a" $EIO 0 99 $driver "$work/data" $tiny --epochs 4 --out "$work/a"
done
expect 1 "cannot be listed" faulty readdir "$work/a" $EIO 3 1 $driver "$work/data" --resume auto --threads 1 --out "$work/a"
for after in 0 1 5; do
    expect 1 "try again when it can be read" faulty pread checkpoint_0002 $EIO $after 1 $driver "$work/data" --resume auto \
        --threads 1 --out "$work/a"
    grep -q "damaged" "$work/err" && fail "a passing failure is taken for damage"
done
expect 1 "cannot be read" faulty pread metrics.jsonl $EIO 0 1 $driver "$work/data" --resume auto --threads 1 --out "$work/a"
mkdir "$work/batches"
for i in 1 2 3; do : >"$work/batches/data_batch_$i.bin"; done
expect 1 "cannot be listed" faulty readdir "$work/batches" $EIO 3 1 $driver "$work/batches" $tiny --out "$work/x"
[ "$before" = "$(sum "$work/a")" ] || fail "a run that could not be read was written"
expect 0 "" $driver "$work/data" --resume auto --max-steps 0 --threads 1 --no-report --knn-every 0 --out "$work/a"
whole "$work/a" 12
cmp "$work/a/checkpoint_0003.safetensors" "$work/whole/checkpoint_0003.safetensors" || fail "the run that went on is another"
mkdir "$work/away" && mv "$work/a/checkpoint_0003.safetensors" "$work/away" # the advice, followed
expect 0 "" $driver "$work/data" --resume auto --threads 1 --no-report --knn-every 0 --out "$work/a"
grep -q "resumed .*checkpoint_0002" "$work/out" || fail "with the newest moved away the one before it is not taken"
cmp "$work/a/checkpoint_0003.safetensors" "$work/whole/checkpoint_0003.safetensors" || fail "the run that went on is another"
for number in 0 1 2 3; do echo no checkpoint >"$work/a/checkpoint_000$number.safetensors"; done
expect 1 "none of the 4 checkpoints in .* is valid; start anew in another --out" $driver "$work/data" $tiny --epochs 4 \
    --resume auto --out "$work/a"
expect 0 "" $driver "$work/data" $tiny --epochs 4 --resume auto --out "$work/a2"
whole "$work/a2" 12
ln -s loop "$work/loop"
expect 1 "cannot be looked at" $driver "$work/data" $tiny --resume auto --out "$work/loop"

# The disk is full while a line is written, for a moment or for good. The state that is saved then has a log that
# agrees with it; nothing is saved that has none.
n=0
for after in 1 2 5 8; do
    for times in 1 99; do
        n=$((n + 1)) run=$work/full$n
        expect 1 "make room" faulty write metrics.jsonl $ENOSPC $after $times $driver "$work/data" $tiny --epochs 4 \
            --out "$run"
        grep -q "go on with: train_imagenet .* --threads 1 .*--resume auto" "$work/err" || fail "nothing is said of going on"
        expect 0 "" $driver "$work/data" $tiny --epochs 4 --resume auto --out "$run"
        whole "$run" 12
        cmp "$run/checkpoint_0003.safetensors" "$work/whole/checkpoint_0003.safetensors" ||
            fail "after a full disk at line $after the run is another"
    done
done
expect 1 "metrics.jsonl cannot be written" faulty fdatasync metrics.jsonl $EIO 1 1 $driver "$work/data" $tiny --epochs 4 \
    --out "$work/sync"
expect 0 "" $driver "$work/data" $tiny --epochs 4 --resume auto --out "$work/sync"
whole "$work/sync" 12

# A log that lost its end in a power cut, or has a line that is none: told, and no step twice.
cp -r "$work/whole" "$work/cut"
rm "$work/cut/checkpoint_0003.safetensors"
head -n 7 "$work/whole/metrics.jsonl" >"$work/cut/metrics.jsonl"
printf '{"type":"step","epoch":3,"st' >>"$work/cut/metrics.jsonl"
expect 0 "ends at step 5, before the checkpoint's 9" $driver "$work/data" --resume auto --threads 1 --no-report --out "$work/cut"
[ "$(steps "$work/cut")" = "1 2 3 4 5 10 11 12 " ] || fail "the cut log has the steps $(steps "$work/cut")"

# What killed saves left is removed by the run that holds the folder; nothing else is, and nothing of one who writes.
run=$work/whole
for name in checkpoint_0001.safetensors.tmp-999999-0 checkpoint_0009.safetensors.tmp-$$-3 encoder.safetensors.tmp-1-0 \
    report.html.tmp-9999999-0 gallery.json.tmp-9999999-12; do
    echo left >"$run/$name"
done
for name in checkpoint_0001.safetensors.tmp-999999 checkpoint_x.safetensors.tmp-1-0 mine.tmp-1-0 report.html.tmp-$$-0 \
    checkpoint_0001.safetensors.tmp-1-0.bak; do
    echo stays >"$run/$name"
done
mkdir "$run/checkpoint_0002.safetensors.tmp-1-0"
expect 0 "" $driver "$work/data" --resume auto --threads 1 --no-report --out "$run"
grep -q "removed 5 unfinished files" "$work/out" || fail "not told that 5 files were removed"
[ "$(grep -l left "$run"/*tmp* 2>/dev/null | wc -l)" -eq 0 ] || fail "left: $(ls "$run")"
[ "$(grep -l stays "$run"/*tmp* 2>/dev/null | wc -l)" -eq 5 ] && [ -d "$run/checkpoint_0002.safetensors.tmp-1-0" ] ||
    fail "somebody else's files were removed: $(ls "$run")"
echo left >"$run/report.html.tmp-9999999-1"
expect 0 "" "$BUILD/examples/report" "$run"
[ ! -e "$run/report.html.tmp-9999999-1" ] && [ -e "$run/report.html.tmp-$$-0" ] || fail "report leaves what killed ones left"
encoder=$run/encoder.safetensors
mkdir "$work/probe"
echo left >"$work/probe/probe_state.safetensors.tmp-1-0"
echo left >"$work/probe/probe.json.tmp-9999999-0"
expect 0 "" "$BUILD/examples/linear_probe" "$work/data" --pretrained "$encoder" --threads 1 --epochs 1 --out "$work/probe"
[ "$(ls "$work/probe" | grep -c tmp)" -eq 0 ] || fail "linear_probe leaves what killed ones left"

# A probe's folder: a state that cannot be looked at is not missing, and two probes do not share one.
mkdir "$work/probe2" && ln -s probe_state.safetensors "$work/probe2/probe_state.safetensors"
expect 1 "cannot be looked at" "$BUILD/examples/linear_probe" "$work/data" --pretrained "$encoder" --threads 1 --epochs 1 \
    --resume auto --out "$work/probe2"
"$BUILD/examples/linear_probe" "$work/data" --pretrained "$encoder" --threads 1 --epochs 50000 --out "$work/probe3" \
    >"$work/printed" 2>&1 &
pid=$! tries=0
while [ ! -s "$work/probe3/probe_state.safetensors" ] && [ $tries -lt 600 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
expect 1 "in use by another process" "$BUILD/examples/linear_probe" "$work/data" --pretrained "$encoder" --threads 1 \
    --epochs 50000 --resume auto --out "$work/probe3"
kill -TERM $pid
wait $pid
[ $? -eq 75 ] || fail "the first of two probes was disturbed"
exit $failed
