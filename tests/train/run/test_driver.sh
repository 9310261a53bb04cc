#!/bin/sh
# The training driver as a person uses it, on a few drawn pictures: run, stop, resume, wrong options, damaged files.
. "$(dirname "$0")/../judged.sh"
driver=$BUILD/examples/train_imagenet

mkdir "$work/data"
"$BUILD/tests/train/tool_draw" "$work/data" 48 24 || exit 1
tiny="--preset demo --size 16 --batch-size 16 --bn-group-size 8 --moco-k 40 --moco-dim 16 --width 0.125 --threads 1 -p 1"

same() { cmp "$1" "$2" || fail "$1 and $2 differ"; }
last() { ls "$1"/checkpoint_*.safetensors | sort | tail -n 1; }

# A whole run; its files.
expect 0 "" $driver "$work/data" $tiny --epochs 2 --out "$work/a"
for file in metrics.jsonl report.html checkpoint_0000.safetensors checkpoint_0001.safetensors encoder.safetensors; do
    [ -s "$work/a/$file" ] || fail "there is no $file"
done
[ "$(grep -c '"type":"step"' "$work/a/metrics.jsonl")" -eq 6 ] || fail "metrics.jsonl has not 6 steps"
[ "$(grep -c '"type":"epoch"' "$work/a/metrics.jsonl")" -eq 3 ] || fail "metrics.jsonl has not 3 epochs"
for key in epoch step loss acc1 acc5 lr img_per_s data_wait queue_fill chance_loss; do
    [ "$(grep '"type":"step"' "$work/a/metrics.jsonl" | grep -c "\"$key\":")" -eq 6 ] || fail "steps have no $key"
done
grep '"type":"epoch"' "$work/a/metrics.jsonl" | grep -q '"knn_top1":[0-9]' || fail "epochs have no knn_top1"
if command -v python3 >/dev/null 2>&1; then
    python3 -c 'import json, sys; [json.loads(line) for line in open(sys.argv[1])]' "$work/a/metrics.jsonl" ||
        fail "metrics.jsonl is not one JSON object a line"
fi

# The page that was drawn while the run went on is the one that its file gives afterwards.
undated='/>Written /d;s/data-written="[0-9]*"//'
sed "$undated" "$work/a/report.html" >"$work/live.html"
expect 0 "" "$BUILD/examples/report" "$work/a"
sed "$undated" "$work/a/report.html" | cmp - "$work/live.html" || fail "the report drawn on the way is another"

# Stopped in the middle of an epoch and resumed; other workers: the same bytes, the same losses.
expect 0 "" $driver "$work/data" $tiny --epochs 2 --max-steps 4 --out "$work/b"
expect 0 "" $driver "$work/data" --resume auto --max-steps 0 --threads 1 -p 1 --out "$work/b"
same "$work/a/checkpoint_0001.safetensors" "$work/b/checkpoint_0001.safetensors"
same "$work/a/encoder.safetensors" "$work/b/encoder.safetensors"
expect 0 "" $driver "$work/data" $tiny --epochs 2 --workers 3 --no-report --out "$work/c"
[ ! -e "$work/c/report.html" ] || fail "--no-report drew a report"
same "$work/a/checkpoint_0001.safetensors" "$work/c/checkpoint_0001.safetensors"
losses() { grep '"type":"step"' "$1/metrics.jsonl" | sed 's/.*"epoch":\([0-9]*\),"step":\([0-9]*\),"loss":\([0-9.]*\).*/\1 \2 \3/'; }
[ "$(losses "$work/a" | wc -l)" -eq 6 ] && [ "$(losses "$work/a")" = "$(losses "$work/b")" ] || fail "a resumed run logs other losses"

# A signal: saved, 75, and going on gives what a run without a break gives.
$driver "$work/data" $tiny --epochs 3000 --knn-every 0 --keep 2 --out "$work/d" >/dev/null 2>"$work/err" &
pid=$!
tries=0
while [ "$(cat "$work/d/metrics.jsonl" 2>/dev/null | grep -c '"type":"step"')" -lt 5 ] && [ $tries -lt 300 ]; do
    sleep 0.2
    tries=$((tries + 1))
done
kill -TERM $pid
wait $pid
status=$?
[ $status -eq 75 ] || { fail "status $status after SIGTERM, not 75"; cat "$work/err"; }
stopped=$(grep -c '"type":"step"' "$work/d/metrics.jsonl")
expect 0 "" $driver "$work/data" --resume auto --max-steps $((stopped + 4)) --threads 1 -p 1 --out "$work/d"
expect 0 "" $driver "$work/data" $tiny --epochs 3000 --knn-every 0 --keep 2 --max-steps $((stopped + 4)) --out "$work/e"
same "$(last "$work/d")" "$(last "$work/e")"

# A look before the leap takes nothing and leaves nothing.
expect 0 "" $driver "$work/data" -b 32 --dry-run --out "$work/none"
[ ! -e "$work/none" ] || fail "a dry run made a folder"
grep -q "23,508,032\|27,966,656" "$work/out" || fail "a dry run does not tell the parameters"

# The paper's rows by flags: v1 with all that v2 added is v2, and nothing else is.
expect 0 "" $driver "$work/data" -b 32 --preset moco-v2 --dry-run
sed 's/ *(given)//' "$work/out" | grep -v ' preset' | sed -n '/^configuration/,/^time/p' >"$work/v2"
expect 0 "" $driver "$work/data" -b 32 --preset moco-v1 --mlp --moco-t 0.2 --aug-plus --cos --dry-run
sed 's/ *(given)//' "$work/out" | grep -v ' preset' | sed -n '/^configuration/,/^time/p' | cmp - "$work/v2" ||
    fail "moco-v1 --mlp --moco-t 0.2 --aug-plus --cos is not moco-v2"

# The baselines: SimCLR with all its parts, and the end-to-end mechanism; stopped, resumed, the same bytes.
simclr="--preset simclr --arch resnet18 --stem small --size 16 --batch-size 16 --moco-dim 16 --width 0.125 --threads 1 -p 1
    --warmup-epochs 1 --epochs 3"
expect 0 "" $driver "$work/data" $simclr --out "$work/s"
expect 0 "" $driver "$work/data" $simclr --max-steps 4 --out "$work/s2"
expect 0 "" $driver "$work/data" --resume auto --max-steps 0 --threads 1 -p 1 --out "$work/s2"
same "$work/s/checkpoint_0002.safetensors" "$work/s2/checkpoint_0002.safetensors"
grep '"type":"step"' "$work/s/metrics.jsonl" | head -n 3 | sed 's/.*"lr":\([0-9.e-]*\).*/\1/' | tr '\n' ' ' >"$work/rates"
[ "$(cat "$work/rates")" = "0 0.1 0.2 " ] || fail "the rates of a warm-up of 3 steps to 0.3 are $(cat "$work/rates")"
expect 0 "" $driver "$work/data" $tiny --moco-k 0 --negatives batch --epochs 1 --out "$work/batch"
expect 2 "moco-k" $driver "$work/data" $tiny --negatives batch --out "$work/x"
expect 2 "negatives batch" $driver "$work/data" --encoder-k shared --out "$work/x"
expect 2 "encoder-k shared" $driver "$work/data" --loss ntxent --out "$work/x"
expect 2 "symmetric" $driver "$work/data" --preset end-to-end --symmetric --out "$work/x"
expect 2 "groups-per-launch" $driver "$work/data" --preset end-to-end --groups-per-launch 1 --out "$work/x"
expect 2 "warmup-epochs" $driver "$work/data" --warmup-epochs 2 --out "$work/x"
expect 2 "moco-k" $driver "$work/data" --preset simclr --negatives queue --encoder-k momentum --loss infonce --out "$work/x"
expect 2 "negatives" $driver "$work/data" --resume "$work/s/checkpoint_0002.safetensors" --negatives queue --out "$work/x"
# Memory: MoCo's launch is the same for any batch, the end-to-end mechanism's grows with it.
slab() { $driver "$work/data" "$@" --bn-group-size 4 --dry-run | sed -n 's/^  slab *\([0-9.]* [A-Za-z]*\).*/\1/p'; }
[ "$(slab -b 8 --groups-per-launch 1)" = "$(slab -b 32 --groups-per-launch 1)" ] || fail "MoCo's slab depends on the batch"
kept=$(slab -b 8 --precision f32) # in MiB or GiB; ref, where there is no other device, keeps everything
[ "$kept" = "$(slab -b 8 --precision f32 --device ref)" ] || [ "$(slab -b 8 --precision f32 --recompute)" != "$kept" ] ||
    fail "--recompute takes the same memory"
[ "$(slab --preset end-to-end -b 8)" != "$(slab --preset end-to-end -b 32)" ] || fail "the end-to-end slab does not"

# The demo on somebody's own pictures, with classes and without, and what embed makes of the encoder: a line an image.
mkdir "$work/many" && "$BUILD/tests/train/tool_draw" "$work/many" 192 24 || exit 1
expect 0 "" "$BUILD/examples/demo" "$work/many/train" --steps 2 --threads 1 --out "$work/demo"
tail -n 1 "$work/out" | grep -q '^demo: kNN accuracy' || fail "the demo measured nothing on class folders"
grep -q '</html>' "$work/demo/report.html" || fail "the demo drew no report"
expect 1 "--out" "$BUILD/examples/demo" "$work/many/train" --steps 2 --threads 1 --out "$work/a"
for count in 192 64; do # a multiple of a batch of images, too
    rm -rf "$work/few" && mkdir "$work/few"
    for file in $(ls "$work"/many/train/*/*.png | head -n $count); do cp "$file" "$work/few"; done
    expect 0 "" "$BUILD/examples/embed" "$work/demo/encoder.safetensors" "$work/few"
    [ "$(wc -l <"$work/out")" -eq $count ] || fail "embed gives not one line for each of $count images"
    [ "$(cut -f 2- "$work/out" | sort -u | wc -l)" -gt $((count / 2)) ] || fail "embed gives all images one vector"
done
cut -f 2- "$work/out" | sed -n 5p >"$work/fifth"
name=$(cut -f 1 "$work/out" | sed -n 5p)
mkdir "$work/one" && cp "$name" "$work/one"
expect 0 "" "$BUILD/examples/embed" "$work/demo/encoder.safetensors" "$work/one"
cut -f 2- "$work/out" | cmp - "$work/fifth" || fail "an image has another vector when it is alone"
mkdir "$work/unlabelled" && cp "$work"/many/train/*/*.png "$work/unlabelled"
expect 0 "" "$BUILD/examples/demo" "$work/unlabelled" --steps 2 --threads 1 --out "$work/demo2"
grep -q "there are no class folders, so no kNN accuracy" "$work/out" || fail "the demo does not say that labels are missing"
mkdir "$work/oneclass" && cp -r "$work/unlabelled" "$work/oneclass/all"
expect 0 "" "$BUILD/examples/demo" "$work/oneclass" --steps 2 --threads 1 --out "$work/demo3"
grep -q "all of one class, so no kNN accuracy" "$work/out" || fail "the demo does not say that there is one class"
tail -n 1 "$work/out" | grep -q '^demo: a view finds its picture' || fail "the demo measures kNN with one class"

# Wrong in every way a person is.
mkdir "$work/empty"
expect 1 "$work/empty" $driver "$work/empty" $tiny --out "$work/x"
expect 1 "$work/nowhere" $driver "$work/nowhere" $tiny --out "$work/x"
expect 2 "--batch-size" $driver "$work/data" --batchsize 3
expect 2 "batch" $driver "$work/data" $tiny --batch-size zwölf --out "$work/x"
expect 2 "bn_group_size\|bn-group-size" $driver "$work/data" $tiny --batch-size 12 --out "$work/x"
expect 1 "48" $driver "$work/data" $tiny --batch-size 64 --out "$work/x"
expect 2 "resnet34" $driver "$work/data" --resume "$work/a/checkpoint_0000.safetensors" --arch resnet34 --out "$work/x"
head -c 20000 "$work/a/checkpoint_0001.safetensors" >"$work/cut.safetensors"
expect 1 "cut.safetensors" $driver "$work/data" --resume "$work/cut.safetensors" --out "$work/x"
# The newest checkpoint is damaged: the one before it, with a word about it, and then the same bytes.
cp "$work/cut.safetensors" "$work/b/checkpoint_0001.safetensors"
expect 0 "checkpoint_0001" $driver "$work/data" --resume auto --threads 1 --out "$work/b"
same "$work/a/checkpoint_0001.safetensors" "$work/b/checkpoint_0001.safetensors"
# More bad images than are tolerated; then fewer.
cp -r "$work/data" "$work/bad"
for i in 000 001 002; do echo "not a picture" >"$work/bad/train/$((${i#00} % 3))/$i.png"; done
expect 1 "" $driver "$work/bad" $tiny --epochs 1 --knn-every 0 --max-bad 2 --out "$work/f"
expect 0 "" $driver "$work/bad" $tiny --epochs 1 --knn-every 0 --max-bad 3 --out "$work/g"
# Images without labels: trained all the same.
mkdir "$work/flat" && cp "$work"/data/train/*/*.png "$work/flat"
expect 0 "" $driver "$work/flat" $tiny --epochs 1 --out "$work/h"
exit $failed
