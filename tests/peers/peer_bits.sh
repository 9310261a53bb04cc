#!/bin/sh
# The bits of training, against an earlier version of this library built beside it on the same machine: the tensors of
# the states after 20 steps of every mechanism, f32 and bf16, one thread and two. Features are not among them: inference in
# f32 does convolutions by Winograd's kernel since 3a58f98, so their last bits differ on purpose (test_kernels_winograd and
# test_embed hold them).
# MOCO_BITS_BASE: the version compared with. Change it only in a commit that changes bits on purpose, and say why there.
set -eu
cd "$(dirname "$0")/../.."
: "${BUILD:=build}" "${MOCO_BITS_BASE:=3a58f98}"
git rev-parse -q --verify "$MOCO_BITS_BASE^{commit}" >/dev/null 2>&1 ||
    { echo "not tested here: the bits of $MOCO_BITS_BASE, which this clone has not"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/base"
git archive "$MOCO_BITS_BASE" | tar -x -C "$work/base"
make -s -j2 -C "$work/base" BUILD=build WERROR=0 lib >"$work/log" 2>&1 || { tail -n 20 "$work/log"; exit 1; }

# NAME TREE BUILD
compile() {
    cc -std=c11 -O1 -I"$2/include" -o "$work/$1" tests/peers/train_bits.c -L"$3" -lmoco -Wl,-rpath,"$3"
}
compile old "$work/base" "$work/base/build"
compile new . "$(cd "$BUILD" && pwd)"

status=0 compared=0
for precision in f32 bf16; do
    for threads in 1 2; do
        for version in old new; do
            out=$work/$version.$precision.$threads
            mkdir "$out"
            "$work/$version" "$out" $precision $threads >"$out/list" && code=0 || code=$?
            [ $code -eq 3 ] && { echo "not tested here: bf16"; continue 2; }
            [ $code -eq 0 ] || { echo "$version, $precision, $threads threads: exit $code"; exit 1; }
            sed -i '/features/d' "$out/list"
            for file in "$out"/*.safetensors; do
                basename "$file"
                python3 tests/peers/read_safetensors.py "$file" | grep -v '^[^ ]*=' # tensors; texts may gain keys
            done >>"$out/list"
        done
        if diff "$work/old.$precision.$threads/list" "$work/new.$precision.$threads/list" >"$work/diff"; then
            compared=$((compared + $(wc -l <"$work/new.$precision.$threads/list")))
        else
            status=1
            echo "$precision, $threads threads: other bits than $MOCO_BITS_BASE makes ($(grep -c '^>' "$work/diff") lines):"
            head -n 6 "$work/diff"
        fi
    done
done
[ $status -eq 0 ] && echo "$compared lines of tensors are the same as $MOCO_BITS_BASE makes"
exit $status
