#!/bin/sh
# SPDX-License-Identifier: MIT
# What nvcc alone can tell (make cuda-check; no GPU): every kernel was compiled for every target without a warning, spills
# nothing and has no stack, and needs the registers and shared memory that resources.txt says: a change there is a diff for
# a person to look at (cuda-check prints how to take it). Then our declarations of the driver, cuDNN and NCCL against NVIDIA's
# headers, what the module exports, and which engines cuDNN has for our convolutions on the GPUs of tests/cuda/devices,
# against plans.txt: cuDNN makes plans from the description of a GPU.
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

# KERNEL TARGET REGISTERS SHARED STACK SPILLS BLOCKS. Blocks: how many of 256 threads fit on a multiprocessor, which has 2048
# threads and 65536 registers in four parts (a warp takes them in 256s), and 164 KiB of shared memory on sm_80, 228 on the
# others (a block takes 1 KiB more than it asks for, in 128s).
awk '
function least(a, b) { return a < b ? a : b }
function blocks(target, registers, shared,    by_registers, room) {
    by_registers = int(int(16384 / (int((registers * 32 + 255) / 256) * 256)) * 4 / 8)
    room = (target == "sm_80" ? 164 : 228) * 1024
    return least(least(8, by_registers), int(room / (int((shared + 127) / 128) * 128 + 1024)))
}
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
    print name, target, registers, shared, stack, spills, blocks(target, registers, shared)
}' "$log" | LC_ALL=C sort >"$work/now"
list=src/backend/cuda/kernels/args.h
kernels=$(sed -n 's/^    K(\([a-z0-9_]*\),.*/\1/p; s/^    CUDA_STORED(K, \([a-z0-9_]*\),.*/\1 \1_bf16 \1_f16/p' $list)
for kernel in $kernels; do
    for target in sm_80 sm_90a sm_100a; do
        grep -q "^$kernel $target " "$work/now" || fail "$kernel was not compiled for $target"
    done
done
awk '$5 != 0 { print $1, "for", $2, "has a stack of", $5, "bytes"; bad = 1 } $6 != 0 { print $1, "for", $2, "spills", $6, "bytes"; bad = 1 }
     END { exit bad }' "$work/now" || failed=1
version=$("$NVCC" --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p')
{
    echo "# kernel target registers shared-bytes stack-bytes spilled-bytes blocks-of-a-multiprocessor, by nvcc $version"
    cat "$work/now"
} >"$work/table"
cp "$work/table" "$BUILD/obj/cuda/resources.txt"
if [ "$(head -n 1 "$table" 2>/dev/null)" != "$(head -n 1 "$work/table")" ]; then
    echo "not compared: $table is of another nvcc than $version"
elif ! diff "$table" "$work/table" >"$work/diff"; then
    cat "$work/diff"
    fail "kernels need other resources than $table says; if that is as it should be: cp $BUILD/obj/cuda/resources.txt $table"
fi

toolkit=$(dirname "$(dirname "$NVCC")")
# In machine code: products and losses run on tensor cores; they, batch norm and what walks over slabs move 16 bytes at a time
# (cuobjdump and nvdisasm are on PATH or in the toolkit; pip has them as nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm).
PATH=$PATH:$toolkit/bin
code_of() { awk -v name="moco_$1" '/Function :/ { on = $3 == name } on' "$work/sass"; }
machine_code() { # INSTRUCTION KERNEL...
    instruction=$1
    shift
    for kernel in "$@"; do
        code_of "$kernel" | grep -q -- "$instruction" || fail "$kernel for $target has no $instruction"
    done
}
stored() { for kernel in "$@"; do echo "$kernel ${kernel}_bf16 ${kernel}_f16"; done; }
if command -v cuobjdump >/dev/null && command -v nvdisasm >/dev/null; then
    for target in sm_80 sm_90a sm_100a; do
        cuobjdump -sass -arch "$target" "$BUILD/obj/cuda/kernels.fatbin" >"$work/sass" 2>&1 || fail "no machine code for $target"
        tensor="product_forward product_data product_weights nce_slices nce_keys nearest_slices"
        machine_code HMMA.1688.F32.TF32 $tensor
        machine_code HMMA.16816.F32.BF16 product_forward_bf16 product_data_bf16 product_weights_bf16
        machine_code 'HMMA.16816.F32 ' product_forward_f16 product_data_f16 product_weights_f16
        machine_code LDG.E.128 nce_slices nce_keys nearest_slices nearest_end $(stored product_forward product_data product_weights) slab_sums $(stored slab_update slab_readers bn_sums bn_apply bn_back_sums bn_back_apply)
        machine_code STG.E.128 slab_update $(stored bn_apply bn_back_apply)
        machine_code STG.E.64 slab_update_bf16 slab_update_f16 slab_readers_bf16 slab_readers_f16
        code_of product_forward_bf16 | grep -q TF32 && fail "products of bf16 for $target are made in TF32"
        code_of slab_sums | grep -q HMMA && fail "every kernel has HMMA: nothing was looked at"
        code_of loss_end | grep -q LDG.E.128 && fail "every kernel has LDG.E.128: nothing was looked at"
    done
else
    echo "SKIPPED: machine code: there is no cuobjdump with nvdisasm"
    [ -z "${MOCO_TEST_REQUIRE:-}" ] || failed=1
fi
# agree SOURCE HEADER NAME: ours against theirs, then an argument of another type, planted in our header.
agree() {
    $CC -std=c11 -Wall -Wno-enum-compare -Werror -fsyntax-only -Iinclude -Ilib -Isrc -isystem "$toolkit/include" "$1" ||
        fail "$2 is not NVIDIA's"
    sed "s/$4/$5/" "src/$2" >"$work/$(basename "$2")"
    sed "s|\"$2\"|\"$(basename "$2")\"|" "$1" >"$work/planted.c"
    $CC -std=c11 -fsyntax-only -I"$work" -Iinclude -Ilib -Isrc -isystem "$toolkit/include" "$work/planted.c" 2>"$work/said" &&
        fail "an argument of another type was not found"
    grep -q "$3 has other arguments" "$work/said" || fail "what was found is another thing: $(head -n 3 "$work/said")"
}
if [ -f "$toolkit/include/cuda.h" ]; then
    agree tests/cuda/driver_types.c backend/cuda/cuda_driver.h cuMemHostAlloc 'size_t bytes, unsigned flags' 'int bytes, unsigned flags'
else
    echo "not tested here: the driver's types: there is no cuda.h in $toolkit/include"
fi
if [ -f "$toolkit/include/cudnn_graph.h" ]; then
    agree tests/cuda/dnn_types.c backend/cuda/dnn/dnn_library.h cudnnGetLastErrorString 'char \*text, size_t size' 'char *text, int size'
else
    echo "not tested here: cuDNN's types: there is no cudnn_graph.h in $toolkit/include"
fi
if [ -f "$toolkit/include/nccl.h" ]; then
    agree tests/cuda/nccl_types.c backend/cuda/nccl/nccl_library.h ncclCommInitRankConfig 'int ranks, nccl_id id' 'long ranks, nccl_id id'
else
    echo "not tested here: NCCL's types: there is no nccl.h in $toolkit/include"
fi
exported=$(nm -D --defined-only "$BUILD/libmoco_cuda.so" | awk '{ print $3 }' | tr '\n' ' ')
[ "$exported" = "moco_backend " ] || fail "libmoco_cuda.so exports: $exported"
echo "$(echo "$kernels" | wc -w) kernels for 3 targets"

# ---- plans of cuDNN ----
plans=tests/cuda/plans.txt
tool=$BUILD/tests/cuda/tool_plans
folders=${CUDNN:+$CUDNN:}$toolkit/lib64:$toolkit/lib
"$tool" "$folders" tests/cuda/devices/*.json >"$work/plans" 2>"$work/said"
status=$?
cat "$work/said"
if grep -q 'there is no libcudnn' "$work/said"; then
    echo "SKIPPED: plans of cuDNN: give CUDNN=FOLDER"
    [ -z "${MOCO_TEST_REQUIRE:-}" ] || failed=1
    exit $failed
fi
[ $status = 0 ] || fail "tool_plans ended with $status: $(grep '^# cuDNN' "$work/plans" | head -n 5)"
cp "$work/plans" "$BUILD/obj/cuda/plans.txt"
if [ "$(head -n 1 "$plans" 2>/dev/null)" != "$(head -n 1 "$work/plans")" ]; then
    echo "not compared: $plans is of another cuDNN: $(head -n 1 "$work/plans")"
elif ! diff "$plans" "$work/plans" >"$work/diff"; then
    head -n 20 "$work/diff"
    fail "cuDNN's engines are others than $plans says; if that is as it should be: cp $BUILD/obj/cuda/plans.txt $plans"
fi
grep -v '^#' "$work/plans" | awk '{ asked += $5; found += $6; first += $7 } END { print asked, "convolutions,", found, "with an engine,", first, "of them the first" }'
# Planted: a GPU that has no bf16 has no engine for it, and one that is not described is none.
sed 's/"deviceVer": 900/"deviceVer": 750/' tests/cuda/devices/h200.json >"$work/poor.json"
"$tool" "$folders" "$work/poor.json" >"$work/poor" 2>/dev/null && fail "a GPU without bf16 has engines for it"
grep -q "^# cuDNN: no engine for the forward in bf16 of a convolution" "$work/poor" || fail "another sentence: $(grep "^# cuDNN" "$work/poor" | head -n 1)"
grep -v warpSize tests/cuda/devices/h200.json >"$work/unknown.json"
"$tool" "$folders" "$work/unknown.json" >/dev/null 2>"$work/said" && fail "a GPU without a warp size was taken"
grep -q 'description of a GPU was not taken' "$work/said" || fail "another sentence: $(cat "$work/said")"
exit $failed
