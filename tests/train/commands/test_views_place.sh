#!/bin/sh
# train_imagenet --views: with views that the device makes of pictures it keeps, a run has the bytes of one whose views the
# host makes, on the simulated CUDA device; it goes on from a checkpoint of the other kind, too; auto chooses by what is known
# and fits; and what cannot be is refused.
. "$(dirname "$0")/../judged.sh"
. "$(dirname "$0")/../cudasim_module.sh"

# ---- CIFAR-10's files: 60 pictures, of a label each and 3072 bytes ----
mkdir "$work/cifar" "$work/files"
"$BUILD/tests/train/tool_draw" "$work/files" 24 24 || exit 1
for class in 0 1 2 3 4 5 0 1 2 3 4 5 0 1 2 3 4 5 0 1 2 3 4 5 0 1 2 3 4 5 0 1 2 3 4 5 0 1 2 3 4 5 0 1 2 3 4 5 0 1 2 3 4 5 0 1 2 3 4 5; do
    printf "\\00$class"
    head -c 3072 /dev/urandom
done >"$work/cifar/data_batch_1.bin"

train() { # DATA OUT EPOCHS MORE...
    data=$1 out=$2 epochs=$3
    shift 3
    expect 0 "" "$BUILD/examples/train_imagenet" "$work/$data" --device cudasim:0 --preset cifar10 --size 16 --width 0.125 --threads 1 \
        --batch-size 12 --bn-group-size 6 --moco-k 24 --moco-dim 8 --knn-every 0 --no-report --seed 3 --epochs 2 --recipe moco-v2 \
        --max-steps "$epochs" --out "$work/$out" "$@"
}
same() {
    cmp "$work/$1/checkpoint_0001.safetensors" "$work/$2/checkpoint_0001.safetensors" || fail "$2 is not $1"
}
made_on() { grep -q "views are made on cudasim:0" "$work/out"; }

train cifar host 10 --views host
made_on && fail "--views host makes them on the device"
train cifar device 10 --views device
made_on || fail "--views device does not say so"
same host device
train cifar auto 10
made_on || fail "auto does not know the size of CIFAR-10's pictures"
same host auto
for way in "host device" "device host"; do
    set -- $way
    train cifar "$1-$2" 3 --views "$1"
    train cifar "$1-$2" 10 --views "$2" --resume auto
    same host "$1-$2"
done

# ---- files: their sizes are not known, so that only a person can want it ----
train files f-host 4
made_on && fail "auto keeps pictures of sizes that nobody knows"
train files f-device 4 --views device
made_on || fail "--views device does not say so of files"
cmp "$work/f-host/checkpoint_0001.safetensors" "$work/f-device/checkpoint_0001.safetensors" || fail "files: device is not host"

# ---- what --dry-run says ----
train cifar no 2 --dry-run
grep -q "pictures  *18[0-9] KB  decoded, on the device" "$work/out" || fail "--dry-run does not say what the pictures take"
train cifar no 2 --dry-run --views host
grep -q "views .*batches that the loader holds, which makes them on the host" "$work/out" || fail "--dry-run does not say who makes views"
train files no 2 --dry-run --views device
grep -q "pictures .*not known before they are read" "$work/out" || fail "--dry-run says what it cannot know"

# ---- refused ----
run="$BUILD/examples/train_imagenet --preset demo --size 16 --width 0.125 --threads 1 --batch-size 12 --bn-group-size 6 --moco-k 24 --knn-every 0 --no-report --epochs 1"
expect 1 "cpu makes no views: .*; try --views auto$" $run "$work/files" --views device --out "$work/no"
[ ! -e "$work/no" ] || fail "a run that was refused left its folder"
expect 0 "" $run "$work/files" --views auto --moco-dim 8 --out "$work/advised"
expect 2 "one of auto|device|host" $run "$work/files" --views gpu --out "$work/no"
first=$(find "$work/files/train" -name '*.png' | sort | head -n 1)
head -c 300 "$first" >"$work/cut" && cp "$work/cut" "$first"
expect 1 "$(basename "$first")" $run "$work/files" --device cudasim:0 --views device --max-bad 5 --out "$work/no2"
exit $failed
