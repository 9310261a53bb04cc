#!/bin/sh
# SPDX-License-Identifier: MIT
# examples/convert on files that PyTorch saved: each to safetensors and back has the same tensors to the bit, and the same
# texts and numbers; a tree that lies is refused by its line; an encoder goes to every other program's form.
set -u
: "${BUILD:=build}"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0
fail() {
    echo "FAILED: $*"
    failed=1
}
convert=$BUILD/examples/convert
# Everything of a file but its container, strides and remarks.
listing() {
    "$BUILD/tests/golden/tool_weights" "$1" | awk '$1 == "tensor" { print $1, $2, $3, $4, $6 } $1 == "text" { print } $1 == "error" { print }' | sort
}

files=0
for file in tests/golden/fixtures/weights-*/*.pth; do
    name=$(basename "$(dirname "$file")")-$(basename "$file" .pth)
    "$convert" "$file" "$work/$name.safetensors" >"$work/out" 2>&1 || { fail "$file: $(cat "$work/out")"; continue; }
    "$convert" "$work/$name.safetensors" "$work/$name.pth" >"$work/out" 2>&1 || { fail "$name back: $(cat "$work/out")"; continue; }
    "$convert" "$file" "$work/straight.pth" >"$work/out" 2>&1 || fail "$file to .pth: $(cat "$work/out")"
    cmp "$work/straight.pth" "$work/$name.pth" || fail "$name: another file by way of safetensors"
    listing "$file" >"$work/before"
    listing "$work/$name.pth" >"$work/after"
    grep '^tensor' "$work/before" >"$work/tensors"
    listing "$work/$name.safetensors" | grep '^tensor' | cmp - "$work/tensors" || fail "$name: the safetensors file has other tensors"
    cmp "$work/before" "$work/after" || { fail "$name"; diff "$work/before" "$work/after" | head -5; }
    files=$((files + 1))
done
[ $files -ge 14 ] || fail "only $files files"

# Texts of dicts, for readers of safetensors.
"$BUILD/examples/inspect" "$work/weights-torch-2-moco.zip.safetensors" >"$work/out" || fail "inspect"
tab=$(printf '\t')
for text in "format${tab}pt" "epoch${tab}3" "arch${tab}resnet50"; do
    grep -q "^text$tab$text\$" "$work/out" || fail "no text $text"
done

# A tree that lies. The hash of the header goes with each change: nothing but the tree is wrong.
cat >"$work/lie.py" <<'PY'
import json, struct, sys
source, target, old, new = sys.argv[1:]
raw = open(source, "rb").read()
(size,) = struct.unpack("<Q", raw[:8])
header = json.loads(raw[8 : 8 + size])
texts = header["__metadata__"]
tree = texts["torch.tree"].replace(old.encode().decode("unicode_escape"), new.encode().decode("unicode_escape"), 1)
assert tree != texts["torch.tree"], old
header["__metadata__"] = {"torch.tree": tree}
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
open(target, "wb").write(struct.pack("<Q", len(text)) + text + raw[8 + size :])
PY
lie() { # in the tree, in its place, words
    python3 "$work/lie.py" "$work/weights-torch-2-moco.zip.safetensors" "$work/lie.safetensors" "$1" "$2" || { fail "lie $1"; return; }
    rm -f "$work/lie.pth"
    "$convert" "$work/lie.safetensors" "$work/lie.pth" >"$work/out" 2>&1 && fail "taken: $1 -> $2"
    grep -q -- "$3" "$work/out" || fail "$1 -> $2: no \"$3\" in $(cat "$work/out")"
    [ -e "$work/lie.pth" ] && fail "a file is left"
}
command -v python3 >/dev/null || { echo "SKIPPED: no python3"; exit $failed; }
lie 'Tmodule.queue\t' 'Tmodule.other\t' "names a tensor state_dict.module.other"
lie 'Tmodule.queue_ptr\t' 'Tmodule.queue\t' "state_dict.module.queue has two places"
lie 'Tmodule.queue_ptr\t\n' '' "has places for"
lie 'iepoch\t3' 'iepoch\t2x' "an integer is none"
lie 'iepoch\t3' 'qepoch\t200' "begins with none of"
lie 'iepoch\t3' 'iepoch' "has no tab"
lie 'iepoch\t3' 'bepoch\t200' "neither true nor false"
lie 'iepoch\t3' 'sepo\\xch\t3' "a backslash"
lie 'iepoch\t3\n' '\n' "the line is empty"
lie 'iepoch\t3\n' '.\n.\n' "more follows"
lie 'Dstate\n' 'Dstate\niname\t3\n' "a key is no integer"
lie 'lparams\n' 'lparams\nikey\t3\n' "an element of a list has a key"
python3 -c 'import sys
print("d\n" * 70, end="")' >"$work/deep"
lie 'iepoch\t3\n' "$(sed 's/$/\\n/' "$work/deep" | tr -d '\n')" "more than 64 containers"

expect() { # status, words, arguments
    wanted=$1 words=$2
    shift 2
    "$convert" "$@" >"$work/out" 2>&1
    status=$?
    [ $status -eq "$wanted" ] && grep -qF -- "$words" "$work/out" && return
    fail "convert $*: status $status, and not \"$words\" in $(cat "$work/out")"
}
expect 2 "Usage: convert"
expect 2 "Usage: convert" a.pth b.pth c.pth
expect 2 "Usage: convert" a.pth b.onnx --prefix
expect 1 "a.pth: it cannot be opened" a.pth b.onnx --head
expect 1 "must end in" tests/golden/fixtures/weights-torch-2/list.zip.pth "$work/list.npz"
expect 1 "cannot be opened" "$work/none.pth" "$work/list.pth"
expect 1 "there is no ResNet in it" "$work/weights-torch-2-moco.zip.safetensors" "$work/e.onnx"

# An encoder, of libmoco and after a detour by another program's form: the same ONNX but for who wrote it.
mkdir "$work/pictures" && "$BUILD/tests/train/tool_draw" "$work/pictures" 48 24 || exit 1
for stem in imagenet small; do
    "$BUILD/examples/train_imagenet" "$work/pictures/train" --preset demo --stem $stem --width 0.125 --batch-size 16 --bn-group-size 16 \
        --moco-k 16 --max-steps 1 --knn-every 0 --no-report --threads 1 --workers 1 --out "$work/$stem" >"$work/out" 2>&1 ||
        { cat "$work/out"; fail "no encoder"; }
    expect 0 "resnet18" "$work/$stem/encoder.safetensors" "$work/$stem.onnx"
    expect 0 "resnet18" "$work/$stem/encoder.safetensors" "$work/$stem.pth" --encoder
done
expect 0 "resnet18" "$work/imagenet.pth" "$work/again.onnx"
[ "$(wc -c <"$work/again.onnx")" -gt 100000 ] || fail "an ONNX file of $(wc -c <"$work/again.onnx") bytes"
expect 1 "stem" "$work/small.pth" "$work/again.onnx"
expect 0 "resnet18" "$work/small.pth" "$work/again.onnx" --stem small
expect 1 "of another width" "$work/imagenet.pth" "$work/folder/"
expect 0 "tensors" "$work/imagenet.pth" "$work/foreign.safetensors" # a container: still another program's
expect 0 "resnet18" "$work/foreign.safetensors" "$work/again.onnx"
exit $failed
