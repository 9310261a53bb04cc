#!/bin/sh
# Starting from the weights in a file: train_imagenet --init, linear_probe --pretrained of another program's file, and what
# inspect lists; an encoder of ours stands for that file, with nothing of ours left in its header.
. "$(dirname "$0")/../judged.sh"
command -v python3 >/dev/null 2>&1 || { echo "SKIPPED: no python3"; exit 0; }
driver=$BUILD/examples/train_imagenet

mkdir "$work/data"
"$BUILD/tests/train/tool_draw" "$work/data" 48 24 || exit 1
tiny="--preset demo --size 16 --batch-size 16 --bn-group-size 8 --moco-k 40 --moco-dim 16 --threads 1 -p 1"

expect 0 "" $driver "$work/data" $tiny --width 0.125 --epochs 1 --out "$work/a"
# foreign OUT PREFIX WITH_HEAD: the encoder of $work/a as another program would write it
foreign() {
    python3 - "$work/a/encoder.safetensors" "$@" <<'PY'
import json, struct, sys
source, out, prefix, head = sys.argv[1:5]
with open(source, "rb") as file:
    size = struct.unpack("<Q", file.read(8))[0]
    header, body = json.loads(file.read(size)), file.read()
made, parts, at = {}, [], 0
for name, entry in sorted(header.items(), key=lambda item: item[1].get("data_offsets", [0])[0]):
    if name == "__metadata__" or (name.startswith("fc.") and head == "0"):
        continue
    begin, end = entry["data_offsets"]
    made[prefix + name] = dict(entry, data_offsets=[at, at + end - begin])
    parts.append(body[begin:end])
    at += end - begin
text = json.dumps(made).encode()
text += b" " * (-len(text) % 8)
with open(out, "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))
PY
}
foreign "$work/plain.safetensors" "" 0
foreign "$work/moco.safetensors" "module.encoder_q." 1
tensors() { "$BUILD/examples/inspect" "$1" --verify >/dev/null || fail "$1 cannot be read"; }
tensors "$work/plain.safetensors"

# inspect says which encoders there are.
"$BUILD/examples/inspect" "$work/moco.safetensors" | grep -q '^query encoder	module.encoder_q\.$' || fail "inspect lists no query encoder"
"$BUILD/examples/inspect" "$work/plain.safetensors" | grep -q '^encoder	\.$' || fail "inspect lists no encoder"

# The run has the file's weights: a rate of 0 keeps them, and the head where it is taken.
same_weights() { # FILE PREFIX HEAD: is encoder.safetensors of run $1 what it started from?
    python3 - "$1/encoder.safetensors" "$2" "$3" "$4" <<'PY'
import json, struct, sys
def read(path):
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header, body = json.loads(file.read(size)), file.read()
    return {n: body[slice(*e["data_offsets"])] for n, e in header.items() if n != "__metadata__"}
ours, theirs = read(sys.argv[1]), read(sys.argv[2])
names = [n for n in ours if not n.startswith("fc.")] if sys.argv[4] == "0" else list(ours)
moving = ("running_mean", "running_var", "num_batches_tracked") # which training moves at any rate
names = [n for n in names if not n.endswith(moving)]
different = [n for n in names if ours[n] != theirs[sys.argv[3] + n]]
heads = [n for n in ours if n.startswith("fc.") and sys.argv[3] + n in theirs and ours[n] == theirs[sys.argv[3] + n]]
sys.exit(bool(different) or len(names) < 60 or (sys.argv[4] == "0" and heads != []))
PY
}
still="--lr 0 --wd 0 --epochs 1 --knn-every 0"
expect 0 "" $driver "$work/data" $tiny $still --init "$work/moco.safetensors" --out "$work/b"
grep -q 'imported from names that begin with "module.encoder_q."' "$work/out" || fail "it does not say where the weights are from"
same_weights "$work/b" "$work/moco.safetensors" module.encoder_q. 1 || fail "a run from moco.safetensors has other weights"
expect 0 "" $driver "$work/data" $tiny $still --init "$work/plain.safetensors" --out "$work/c"
same_weights "$work/c" "$work/plain.safetensors" "" 0 || fail "a run from plain.safetensors has other weights"
grep -q 'the head (mlp, 16) is a fresh one' "$work/out" || fail "the fresh head is not said"
expect 0 "" $driver "$work/data" $tiny $still --init "$work/moco.safetensors" --moco-dim 8 --out "$work/d"
same_weights "$work/d" "$work/moco.safetensors" module.encoder_q. 0 || fail "another head changed the backbone"
expect 0 "" $driver "$work/data" $tiny $still --init "$work/a/encoder.safetensors" --out "$work/e"
same_weights "$work/e" "$work/a/encoder.safetensors" "" 1 || fail "a run from our own encoder has other weights"

# Recorded, and not read again: the file may be gone, named again or not.
for key in init arch width; do
    grep '"type":"config"' "$work/b/metrics.jsonl" | grep -q "\"$key\":" || fail "the configuration does not say $key"
done
grep -q "\"init\":\"$work/moco.safetensors\"" "$work/b/metrics.jsonl" || fail "the file is not recorded"
! grep -q '"init"' "$work/a/metrics.jsonl" || fail "a run that started afresh records a file"
expect 0 "" $driver "$work/data" $tiny --epochs 2 --lr 0.01 --init "$work/moco.safetensors" --max-steps 3 --out "$work/f"
expect 0 "" $driver "$work/data" $tiny --epochs 2 --lr 0.01 --init "$work/moco.safetensors" --out "$work/g"
mv "$work/moco.safetensors" "$work/moved.safetensors"
expect 0 "" $driver "$work/data" --resume auto --threads 1 --out "$work/f"
cmp "$work/f/encoder.safetensors" "$work/g/encoder.safetensors" || fail "a resumed run from a file has other bits"
expect 0 "" $driver "$work/data" --resume auto --threads 1 --init "$work/moco.safetensors" --epochs 3 --out "$work/f"
expect 2 "made with --init $work/moco.safetensors and the command line says --init" $driver "$work/data" --resume auto \
    --init "$work/moved.safetensors" --out "$work/f"
expect 2 "made with --init (none)" $driver "$work/data" --resume auto --init "$work/moved.safetensors" --out "$work/a"
expect 1 "holds a run already" $driver "$work/data" $tiny --init "$work/moved.safetensors" --out "$work/a"

# A path that a note cannot hold as it is.
odd="$work/a \"path\" % \\ of odd ä"
mv "$work/moved.safetensors" "$odd"
expect 0 "" $driver "$work/data" $tiny --epochs 2 --init "$odd" --max-steps 2 --out "$work/h"
expect 0 "" $driver "$work/data" --resume auto --threads 1 --init "$odd" --out "$work/h"

# What is refused.
expect 1 "No such file" $driver "$work/data" $tiny --init "$work/nothing" --out "$work/z"
expect 1 "no ResNet begins with" $driver "$work/data" $tiny --init "$odd" --prefix encoder_k --out "$work/z"
expect 0 "" $driver "$work/data" $tiny --init "$odd" --prefix module.encoder_q --dry-run --out "$work/z"
expect 2 "holds a resnet18" $driver "$work/data" $tiny -a resnet50 --init "$odd" --out "$work/z"
expect 2 "width 0.125" $driver "$work/data" $tiny --width 0.25 --init "$odd" --out "$work/z"
expect 1 "the stem imagenet has 7x7" $driver "$work/data" $tiny --stem imagenet --init "$odd" --out "$work/z"
expect 2 "--prefix goes with --init" $driver "$work/data" $tiny --prefix x --out "$work/z"
[ ! -e "$work/z" ] || fail "a run that could not begin left a folder"

# A probe of it; one of our own that is damaged is still told as such.
expect 0 "" "$BUILD/examples/linear_probe" "$work/data" --pretrained "$work/plain.safetensors" --stem small --fast --threads 1 --size 16 --out "$work/p"
grep -q 'tensors used, 0 not' "$work/out" || fail "the probe does not say what it used"
expect 1 "no shape tells its stride" "$BUILD/examples/linear_probe" "$work/data" --pretrained "$work/plain.safetensors" --fast --out "$work/q"
cp "$work/a/encoder.safetensors" "$work/damaged.safetensors"
printf 'x' | dd of="$work/damaged.safetensors" bs=1 seek=20000 conv=notrunc 2>/dev/null
expect 1 "damaged" "$BUILD/examples/linear_probe" "$work/data" --pretrained "$work/damaged.safetensors" --fast --out "$work/q"
expect 1 "is damaged" $driver "$work/data" $tiny --init "$work/damaged.safetensors" --out "$work/z"
exit $failed
