#!/bin/sh
# SPDX-License-Identifier: MIT
# What nvcc alone can tell (make cuda-check; no GPU): every kernel was compiled for every target without a warning, spills
# nothing and has no stack, and needs the registers and shared memory that resources.txt says: a change there is a diff for
# a person to look at (cuda-check prints how to take it). Then the driver's types against NVIDIA's header, and what the
# module exports.
set -u
: "${BUILD:=build}" "${CC:=cc}"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0
fail() {
    echo "$*"
    failed=1
}
table=tests/cuda/resources.txt
log=$BUILD/obj/cuda/kernels.log

# KERNEL TARGET REGISTERS SHARED STACK SPILLS
awk '
/Compiling entry function/ {
    split($0, part, "\047")
    name = part[2]; target = part[4]
    sub(/^moco_/, "", name)
}
/bytes stack frame/ { stack = $1; spills = $5 + $9 }
/Used [0-9]+ registers/ {
    shared = 0
    for (i = 2; i <= NF; i++) {
        if ($i == "registers," || $i == "registers") registers = $(i - 1)
        if ($i ~ /^smem/) shared = $(i - 2)
    }
    print name, target, registers, shared, stack, spills
}' "$log" | LC_ALL=C sort >"$work/now"
kernels=$(sed -n 's/^    K(\([a-z0-9_]*\),.*/\1/p' src/backend/cuda/kernels/args.h)
for kernel in $kernels; do
    for target in sm_80 sm_90a sm_100a; do
        grep -q "^$kernel $target " "$work/now" || fail "$kernel was not compiled for $target"
    done
done
awk '$5 != 0 { print $1, "for", $2, "has a stack of", $5, "bytes"; bad = 1 } $6 != 0 { print $1, "for", $2, "spills", $6, "bytes"; bad = 1 }
     END { exit bad }' "$work/now" || failed=1
version=$("$NVCC" --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p')
{
    echo "# kernel target registers shared-bytes stack-bytes spilled-bytes, by nvcc $version"
    cat "$work/now"
} >"$work/table"
cp "$work/table" "$BUILD/obj/cuda/resources.txt"
if [ "$(head -n 1 "$table" 2>/dev/null)" != "$(head -n 1 "$work/table")" ]; then
    echo "not compared: $table is of another nvcc than $version"
elif ! diff "$table" "$work/table" >"$work/diff"; then
    cat "$work/diff"
    fail "kernels need other resources than $table says; if that is as it should be: cp $BUILD/obj/cuda/resources.txt $table"
fi

header=$(dirname "$(dirname "$NVCC")")/include
if [ -f "$header/cuda.h" ]; then
    "$CC" -std=c11 -Wall -Wno-enum-compare -Werror -fsyntax-only -Iinclude -Ilib -Isrc -isystem "$header" tests/cuda/driver_types.c ||
        fail "the driver's types are not NVIDIA's"
    sed 's/size_t bytes, unsigned flags/int bytes, unsigned flags/' src/backend/cuda/cuda_driver.h >"$work/cuda_driver.h"
    sed 's|"backend/cuda/cuda_driver.h"|"cuda_driver.h"|' tests/cuda/driver_types.c >"$work/planted.c"
    "$CC" -std=c11 -fsyntax-only -I"$work" -Iinclude -Ilib -Isrc -isystem "$header" "$work/planted.c" 2>"$work/said" &&
        fail "an argument of another type was not found"
    grep -q 'cuMemHostAlloc has other arguments' "$work/said" || fail "what was found is another thing: $(head -n 3 "$work/said")"
else
    echo "not tested here: the driver's types: there is no cuda.h in $header"
fi
exported=$(nm -D --defined-only "$BUILD/libmoco_cuda.so" | awk '{ print $3 }' | tr '\n' ' ')
[ "$exported" = "moco_backend " ] || fail "libmoco_cuda.so exports: $exported"
echo "$(echo "$kernels" | wc -w) kernels for 3 targets"
exit $failed
