#!/bin/sh
# embed --out: NumPy reads what it writes, of a folder, a tar archive, a list, CIFAR-10's files and several of these at once; rows
# are those that are printed, in step with labels and paths, also where a picture cannot be read; memory does not grow with
# their number; a failure leaves nothing behind.
. "$(dirname "$0")/../judged.sh"
for python in /usr/bin/python3 python3; do
    "$python" -c 'import numpy' 2>/dev/null && break
    python=
done
[ -n "$python" ] || { echo "SKIPPED: no numpy (Debian: python3-numpy)"; exit 0; }
embed=$BUILD/examples/embed
mkdir "$work/data"
"$BUILD/tests/train/tool_draw" "$work/data" 24 20 || exit 1
tiny="--preset demo --size 16 --batch-size 8 --bn-group-size 8 --moco-k 16 --moco-dim 8 --width 0.125 --epochs 1 --threads 1"
expect 0 "" "$BUILD/examples/train_imagenet" "$work/data" $tiny --no-report --knn-every 0 --out "$work/run"
encoder=$work/run/encoder.safetensors images=$work/data/train
mkdir "$work/o" "$work/tar"

# The same pictures, in the same order, in four ways.
(cd "$images" && find . -name '*.png' | sort | sed 's/^..//') >"$work/names"
while read -r name; do
    printf '%s/%s\t%s\n' "$images" "$name" "${name%%/*}" >>"$work/list.txt"
    cp "$images/$name" "$work/tar/$(basename "$name")"
    printf '%s' "${name%%/*}" >"$work/tar/$(basename "$name" .png).cls"
done <"$work/names"
(cd "$work/tar" && sed 's:.*/::; s/\.png$//' "$work/names" | while read -r stem; do echo "$stem.png"; echo "$stem.cls"; done |
    tar cf "$work/shard.tar" --format=ustar -T -)
for source in "$images" "$work/list.txt" "$work/shard.tar"; do
    kind=$(basename "$source")
    expect 0 "holds 24 rows" "$embed" "$encoder" "$source" --out "$work/o/$kind.npy" --labels "$work/o/$kind.labels.npy" --paths "$work/o/$kind.txt"
    [ -s "$work/out" ] && fail "embed --out prints to standard output"
done
# Several at once; a list and an archive have numbers for classes, folders have names.
join() { # name, sources
    expect 0 "holds 48 rows" "$embed" "$encoder" "$2" --out "$work/o/$1.npy" --labels "$work/o/$1.labels.npy" --paths "$work/o/$1.txt"
}
cp -r "$images" "$work/again"
join folders "$images:$work/again"
join others "$work/list.txt:$work/shard.tar"
expect 0 "" "$embed" "$encoder" "$images" --out "$work/o/unit.npy" --normalise
expect 0 "" "$embed" "$encoder" "$images" --out "$work/o/projection.npy" --projection
expect 0 "" "$embed" "$encoder" "$images"
cp "$work/out" "$work/o/printed"
"$python" - "$work/o" <<'PY' || fail "NumPy reads something else"
import sys

import numpy as np

folder = sys.argv[1]
load = lambda name: np.load(f"{folder}/{name}.npy")
features, labels, unit, projection = load("train"), load("train.labels"), load("unit"), load("projection")
assert features.dtype == np.float32 and features.shape == (24, 64), (features.dtype, features.shape)
assert features.flags.c_contiguous and projection.shape == (24, 8)
assert labels.dtype == np.int64 and labels.tolist() == [0] * 8 + [1] * 8 + [2] * 8
for kind in ("list.txt", "shard.tar"):
    assert np.array_equal(load(kind), features) and np.array_equal(load(kind + ".labels"), labels), kind
paths = lambda kind: open(f"{folder}/{kind}.txt").read().splitlines()
for kind in ("folders", "others"):
    assert np.array_equal(load(kind), np.tile(features, (2, 1))), kind
    assert np.array_equal(load(kind + ".labels"), np.tile(labels, 2)), kind
assert paths("others") == paths("list.txt") + paths("shard.tar") and paths("folders")[:24] == paths("train")
lines = [line.rstrip("\n").split("\t") for line in open(f"{folder}/printed")]
assert [line[0] for line in lines] == [line.rstrip("\n") for line in open(f"{folder}/train.txt")]
assert np.allclose(np.array([line[1:] for line in lines], np.float32), unit, atol=1e-5)
assert np.allclose(unit, features / np.linalg.norm(features, axis=1, keepdims=True), atol=1e-6)
assert abs(np.linalg.norm(features[0]) - 1) > 1e-3
PY

# CIFAR-10's files, one by name and a folder of them.
"$python" -c 'import sys
open(sys.argv[1] + "/data_batch_1.bin", "wb").write(b"".join(bytes([i]) + bytes((i * 37 + j * j // 64) % 251 for j in range(3072)) for i in range(5)))
open(sys.argv[1] + "/data_batch_2.bin", "wb").write(bytes([9]) + bytes(3072))' "$work/tar"
mkdir "$work/cifar" && mv "$work"/tar/*.bin "$work/cifar"
expect 0 "holds 6 rows" "$embed" --eval-recipe eval "$encoder" "$work/cifar" --out "$work/o/c.npy" --labels "$work/o/cl.npy"
expect 0 "holds 5 rows" "$embed" --eval-recipe eval "$encoder" "$work/cifar/data_batch_1.bin" --out "$work/o/c1.npy"
"$python" -c 'import sys, numpy as np
assert np.load(sys.argv[1] + "/cl.npy").tolist() == [0, 1, 2, 3, 4, 9]
assert np.array_equal(np.load(sys.argv[1] + "/c.npy")[:5], np.load(sys.argv[1] + "/c1.npy"))' "$work/o" || fail "CIFAR-10's labels"

# Rows of 8 KB go to the file as they come: 5,000 of them take no more memory than 500 do.
expect 0 "" "$BUILD/examples/train_imagenet" "$work/data" $tiny --moco-dim 2048 --no-report --knn-every 0 --out "$work/wide"
"$python" - "$embed" "$work" <<'PY' || fail "memory grows with the rows"
import os
import subprocess
import sys

embed, work = sys.argv[1:]


def peak(rows):
    """In MB. What this process has is counted in the child's until it runs embed: so it is kept small."""
    with open(f"{work}/rows.bin", "wb") as file:
        for i in range(rows):
            file.write(bytes([i % 10]) + bytes([i * 31 % 256]) * 3072)
    child = subprocess.Popen([embed, "--eval-recipe", "eval", f"{work}/wide/encoder.safetensors", f"{work}/rows.bin", "--out",
                              f"{work}/rows.npy", "--projection"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0 and os.path.getsize(f"{work}/rows.npy") == 128 + rows * 2048 * 4
    return usage.ru_maxrss / 1024


few, many = peak(500), peak(5000)
assert many < few + 10, f"500 rows take {few:.0f} MB, 5000 take {many:.0f} MB: their files differ by 35 MB"
PY

# A picture that cannot be read has no row, and the files are as long as what is left.
echo "no picture" >"$images/1/$(grep '^1/' "$work/names" | head -n 1 | sed 's:.*/::')"
expect 0 "1 of 24 could not be read" "$embed" "$encoder" "$images" --out "$work/o/less.npy" --labels "$work/o/less.labels.npy" --paths "$work/o/less.txt"
"$python" -c 'import sys, numpy as np
folder = sys.argv[1]
whole, less = np.load(folder + "/train.npy"), np.load(folder + "/less.npy")
assert np.array_equal(less, np.delete(whole, 8, axis=0)) and np.load(folder + "/less.labels.npy").tolist() == [0] * 8 + [1] * 7 + [2] * 8
assert open(folder + "/less.txt").read().splitlines() == [l for i, l in enumerate(open(folder + "/train.txt").read().splitlines()) if i != 8]' "$work/o" || fail "rows without one picture"

# Failures: what was there stays, and nothing else is left.
for file in "$images"/*/*.png; do echo "no picture" >"$file"; done
cp "$work/o/train.npy" "$work/o/kept.npy"
ls -A "$work/o" >"$work/before"
expect 1 "24 of 24 could not be read" "$embed" "$encoder" "$images" --out "$work/o/kept.npy" --paths "$work/o/kept.txt"
expect 1 "cannot be opened" "$embed" "$encoder" "$work/shard.tar" --out "$work/none/f.npy"
expect 1 "cannot be opened" "$embed" "$encoder" "$work/shard.tar" --out "$work/o/kept.npy" --labels "$work/none/l.npy"
(ulimit -f 1 && expect 1 "file size limit" "$embed" "$encoder" "$work/shard.tar" --out "$work/o/kept.npy"; exit $failed) || failed=1
ls -A "$work/o" | cmp -s - "$work/before" || fail "files are left"
cmp -s "$work/o/train.npy" "$work/o/kept.npy" || fail "what was there has changed"
expect 2 "Usage: embed" "$embed" "$encoder" "$images" --labels "$work/o/l.npy"
expect 2 "Usage: embed" "$embed" "$encoder" "$images" 3 --out "$work/o/l.npy"
expect 2 "Usage: embed" "$embed" "$encoder" "$images" --out
exit $failed
