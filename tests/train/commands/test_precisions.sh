#!/bin/sh
# The programs with --device and --precision on a GPU: in every precision that the CUDA backend has, on its simulated driver
# (tests/support/cudasim), which is a module beside libmoco.so here. A precision that a device lacks is refused by name.
. "$(dirname "$0")/../judged.sh"
. "$(dirname "$0")/../cudasim_module.sh"

# ---- training ----
mkdir "$work/data"
"$BUILD/tests/train/tool_draw" "$work/data" 24 24 || exit 1
small="--size 16 --width 0.125 --threads 1"
train="$BUILD/examples/train_imagenet $work/data --device cudasim:0 --preset demo $small --batch-size 12 --bn-group-size 6 \
    --moco-k 24 --moco-dim 8 --knn-every 0"
for precision in bf16 fp16 tf32 f32; do
    expect 0 "" $train --precision $precision --epochs 1 --no-report --out "$work/$precision"
    grep -q '"precision":"'$precision'"' "$work/$precision/metrics.jsonl" || fail "the run does not say that it is in $precision"
done
# Every step of fp16 says its scale, and how many were skipped so far; of other precisions none does.
steps=$(grep -c '"type":"step"' "$work/fp16/metrics.jsonl")
said=$(grep '"type":"step"' "$work/fp16/metrics.jsonl" | grep -c '"loss_scale":[0-9]*,"skipped":[0-9]*}$')
[ "$steps" -gt 0 ] && [ "$said" = "$steps" ] || fail "$said of $steps steps in fp16 say their loss scale"
grep -q '"loss_scale":65536,' "$work/fp16/metrics.jsonl" || fail "the first loss scale is not 65536"
grep -q loss_scale "$work/bf16/metrics.jsonl" && fail "a step in bf16 has a loss scale"
# fp16 in two parts: the same bytes as in one.
expect 0 "" $train --precision fp16 --epochs 2 --schedule 1 --no-report --out "$work/whole"
expect 0 "" $train --precision fp16 --epochs 2 --schedule 1 --no-report --max-steps 1 --out "$work/parts"
expect 0 "" $train --precision fp16 --epochs 2 --schedule 1 --no-report --resume auto --out "$work/parts"
cmp "$work/whole/checkpoint_0001.safetensors" "$work/parts/checkpoint_0001.safetensors" || fail "fp16 in two parts is not what it is in one"
grep -aq '"state.loss_scale":"' "$work/whole/checkpoint_0001.safetensors" || fail "the checkpoint has no loss scale"
# Nothing asked for: bf16 where there is cuDNN, else f32; and a run goes on in the precision that it began in, or says why not.
expect 0 "" $train --epochs 1 --no-report --out "$work/auto"
grep -q '"precision":"bf16"' "$work/auto/metrics.jsonl" || fail "auto is not bf16 with cuDNN"
cmp "$work/auto/checkpoint_0000.safetensors" "$work/bf16/checkpoint_0000.safetensors" || fail "auto is not what bf16 is"
expect 0 "" $train --device cudasim:1 --epochs 1 --no-report --out "$work/auto1"
grep -q '"precision":"f32"' "$work/auto1/metrics.jsonl" || fail "auto is not f32 without cuDNN"
expect 0 "" $train --epochs 2 --no-report --resume auto --out "$work/auto1"
tail -n 1 "$work/auto1/metrics.jsonl" | grep -q '"precision":"f32"' || grep -q '"precision":"bf16"' "$work/auto1/metrics.jsonl" && fail "a run in f32 went on in bf16"
expect 2 "is of a run in bf16, which device cudasim:1 does not have" $train --device cudasim:1 --epochs 2 --no-report --resume auto --out "$work/auto"
# With a file of tuning, which the second run finds and leaves as it is: the same bytes in two parts.
expect 0 "" $train --precision bf16 --epochs 2 --schedule 1 --no-report --tuning "$work/tuning.json" --out "$work/tuned"
cp "$work/tuning.json" "$work/tuning.before"
grep -q '^"simulated GPU 0, cuDNN 9.19.0: forward in bf16 of a convolution of .*":"4"' "$work/tuning.json" || fail "no engine is in the file of tuning"
expect 0 "" $train --precision bf16 --epochs 2 --schedule 1 --no-report --max-steps 1 --tuning "$work/tuning.json" --out "$work/tuned2"
expect 0 "" $train --precision bf16 --epochs 2 --schedule 1 --no-report --resume auto --tuning "$work/tuning.json" --out "$work/tuned2"
cmp "$work/tuned/checkpoint_0001.safetensors" "$work/tuned2/checkpoint_0001.safetensors" || fail "bf16 with tuning in two parts is not what it is in one"
cmp "$work/tuning.json" "$work/tuning.before" || fail "a run that found all engines in the file wrote it anew"
expect 0 "engines are timed again" $train --precision bf16 --epochs 1 --no-report --tuning "$work/bf16/metrics.jsonl" --out "$work/tuned3"
expect 1 "does not compute in f64; it has f32, bf16, fp16, tf32" $train --precision f64 --epochs 1 --out "$work/no"
expect 1 "does not compute in fp16; it has f32" "$BUILD/examples/train_imagenet" "$work/data" --preset demo $small --batch-size 12 \
    --bn-group-size 6 --moco-k 24 --precision fp16 --epochs 1 --out "$work/no"

# ---- what else has the two options ----
encoder=$work/bf16/encoder.safetensors
expect 0 "" "$BUILD/examples/linear_probe" "$work/data" --pretrained "$encoder" --device cudasim:0 --precision fp16 --threads 1 \
    --batch-size 12 --fast --epochs 2 --out "$work/probe"
for precision in bf16 f32; do
    expect 0 "" "$BUILD/examples/embed" "$encoder" "$work/data" --device cudasim:0 --precision $precision --out "$work/$precision.npy"
done
cmp -s "$work/bf16.npy" "$work/f32.npy" && fail "features in bf16 are those in f32"
expect 1 "does not compute in f64" "$BUILD/examples/embed" "$encoder" "$work/data" --device cudasim:0 --precision f64 --out "$work/no.npy"
expect 2 "such option" "$BUILD/examples/embed" "$encoder" "$work/data" --precision half
expect 0 "" "$BUILD/examples/compare" "$work/data" --preset demo $small --arch resnet18 --device cudasim:0 --precision bf16 --tables cost \
    --cost-batches 12 --cost-steps 2 --out "$work/compare"
exit $failed
