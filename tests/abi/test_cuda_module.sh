#!/bin/sh
# SPDX-License-Identifier: MIT
# The module of the CUDA devices, without a GPU, a driver or nvcc: its host code is linked to an empty image of kernels and
# told to look for the driver in a folder of this test, where stand-ins lie that go wrong in one way each. Each is
# refused with MOCO_ENODEV and one sentence that says which; and libmoco.so itself knows nothing of CUDA.
. "$(dirname "$0")/begin.sh"
mkdir "$work/lib" "$work/driver" "$work/second"
cp -P "$BUILD"/libmoco.so* "$work/lib"

compile() { # output, flags and sources...
    out=$1
    shift
    "$CC" -shared -std=c11 -fPIC -fvisibility=hidden -Iinclude -Ilib -Isrc -D_POSIX_C_SOURCE=200809L \
        -DMOCO_CUDA_FOLDERS="\"$work/driver:$work/second\"" -DMOCO_CUDNN_FOLDERS="\"$work/none\"" -DMOCO_NCCL_FOLDERS="\"$work/none\"" -o "$out" "$@" || exit 1
}
objects=$(ls "$BUILD"/obj/src/backend/cuda/*.o "$BUILD"/obj/src/backend/cuda/dnn/*.o "$BUILD"/obj/src/backend/cuda/nccl/*.o "$BUILD"/obj/src/backend/cuda/nearest/*.o "$BUILD"/obj/src/backend/cuda/tune/*.o "$BUILD"/obj/src/backend/cuda/view/*.o |
    grep -v -e cuda_module -e cuda_driver -e dnn_library -e nccl_library)
module() { # output, source of the module
    # shellcheck disable=SC2086
    compile "$1" "$2" src/backend/cuda/cuda_driver.c src/backend/cuda/dnn/dnn_library.c src/backend/cuda/nccl/nccl_library.c $objects \
        "$BUILD/libmoco_internal.a" -Wl,--exclude-libs,ALL -Wl,-z,defs -lm -lpthread
}
module "$work/lib/libmoco_cuda.so" src/backend/cuda/cuda_module.c
exported=$(nm -D --defined-only "$work/lib/libmoco_cuda.so" | awk '{ print $3 }' | tr '\n' ' ')
[ "$exported" = "moco_backend " ] || fail "the module exports: $exported"
nm -D "$BUILD/libmoco.so" | grep -qi -e ' cu[A-Z]' -e cuda && fail "libmoco.so knows of CUDA"
needed=$(readelf -d "$work/lib/libmoco_cuda.so" | grep NEEDED | grep -i -e cuda -e cudnn -e nccl)
[ -z "$needed" ] || fail "the module needs: $needed"

# What computes is queued where a recording sees it, too (cuda_queue.c): a call of the driver elsewhere would not be in it.
past_recordings() { grep -lE 'cu->(launch|fill|copy)\(' "$1"/*.c "$1"/*/*.c 2>/dev/null | grep -v -e cuda_queue.c -e cuda_memory.c -e cuda_program.c; }
past=$(past_recordings src/backend/cuda)
[ -z "$past" ] || fail "work is queued past the recordings of steps in: $past"
echo 'dev->cu->fill(at, 0, bytes, dev->stream);' >"$work/planted.c"
[ "$(past_recordings "$work")" = "$work/planted.c" ] || fail "work that is queued past the recordings was not found"
rm "$work/planted.c"

# ---- drivers ----
cat >"$work/driver.c" <<'SOURCE'
#include "backend/cuda/cuda_driver.h"
/* All symbols but those of answers.c do nothing, well. */
#define PLAIN(member, symbol, args) __attribute__((visibility("default"), weak)) cu_result symbol args { return 0; }
CUDA_DRIVER(PLAIN)
SOURCE
# Strong ones, in an object of their own.
cat >"$work/answers.c" <<'SOURCE'
#include <stdio.h>
#include <stddef.h>
#define SYMBOL __attribute__((visibility("default"))) int
SYMBOL cuInit(unsigned flags) { (void)flags; return INIT; }
SYMBOL cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
SYMBOL cuDeviceGetCount(int *count) { *count = GPUS; return 0; }
SYMBOL cuDeviceGetName(char *name, int size, int device) { (void)device; snprintf(name, (size_t)size, "a stand-in"); return 0; }
SYMBOL cuDeviceGetAttribute(int *value, int attribute, int device) { (void)device; *value = attribute == 75 ? MAJOR : 0; return 0; }
SYMBOL cuDevicePrimaryCtxRetain(void **context, int device) { (void)device; *context = NULL; return RETAIN; }
SYMBOL cuModuleLoadData(void **module, const void *image) { (void)image; *module = NULL; return LOAD; }
SYMBOL cuGetErrorName(int error, const char **name) { (void)error; *name = "CUDA_ERROR_OF_A_TEST"; return 0; }
SOURCE
driver() { # with what it answers in variables
    rm -f "$work/driver/libcuda.so.1"
    compile "$work/driver/libcuda.so.1" -DINIT="${init:-0}" -DVERSION="${version:-13000}" -DGPUS="${gpus:-1}" -DMAJOR="${major:-9}" \
        -DRETAIN="${retain:-0}" -DLOAD="${load:-0}" "$work/driver.c" "$work/answers.c"
}

cat >"$work/user.c" <<'PROGRAM'
#include <moco/moco.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    moco_context *context;
    moco_device *device;
    if (argc != 2 || moco_context_create(&context, NULL) != MOCO_OK)
        return 2;
    moco_status status = moco_device_open(&device, context, argv[1]);
    if (status != MOCO_OK)
        printf("%d: %s\n", (int)status, moco_error());
    moco_context_free(context);
    return status != MOCO_OK;
}
PROGRAM
"$CC" -Iinclude -o "$work/user" "$work/user.c" -L"$work/lib" -lmoco || exit 1
refused() { # device, words...
    name=$1
    shift
    LD_LIBRARY_PATH=$work/lib "$work/user" "$name" >"$work/said" 2>&1 && { fail "$name was opened"; return; }
    grep -q '^-6: moco_device_open: ' "$work/said" || fail "$name: not MOCO_ENODEV: $(cat "$work/said")"
    [ "$(wc -l <"$work/said")" = 1 ] || fail "$name: more than a sentence: $(cat "$work/said")"
    for word in "$@"; do
        grep -qF -- "$word" "$work/said" || fail "$name: the sentence lacks \"$word\": $(cat "$work/said")"
    done
    count=$((count + 1))
}

refused cuda:0 "there is no NVIDIA driver here" "no libcuda.so.1 in $work/driver:$work/second"
refused cuda "there is no NVIDIA driver here"
printf '%0100d\n' 0 >"$work/driver/libcuda.so.1"
refused cuda:0 "the driver cannot be loaded" "$work/driver/libcuda.so.1" "invalid ELF header"
echo 'int nothing(void); int nothing(void) { return 0; }' >"$work/empty.c"
rm "$work/driver/libcuda.so.1"
compile "$work/second/libcuda.so.1" "$work/empty.c" # found in the second folder
refused cuda:0 "$work/second/libcuda.so.1 is too old: it has no cuInit" "12.0 or newer"
init=34 driver
refused cuda:0 "is the toolkit's stub" "install NVIDIA's driver"
init=100 driver
refused cuda:0 "finds no GPU"
init=803 driver
refused cuda:0 "does not belong to the kernel module" "restart"
init=999 driver
refused cuda:0 "does not start: error 999"
version=11040 driver
refused cuda:0 "is of CUDA 11.4; 12.0 or newer is needed"
gpus=0 driver
refused cuda:0 "cuda:0: the driver finds no GPU"
gpus=2 driver
refused cuda:2 "cuda:2: there are 2 GPUs here, numbered from 0"
major=7 driver
refused cuda:0 "a stand-in has compute capability 7.0; 8.0 or newer is needed"
retain=46 driver
refused cuda:0 "a stand-in is used by another process alone"
load=222 driver
refused cuda:0 "too old for the kernels of this build" "newer driver"

# ---- a module of another libmoco ----
sed 's/abi = BACKEND_ABI;/abi = BACKEND_ABI - 1;/' src/backend/cuda/cuda_module.c >"$work/older.c"
module "$work/lib/libmoco_cuda.so" "$work/older.c"
refused cuda:0 "$work/lib/libmoco_cuda.so" "take the module that belongs to this libmoco"
rm "$work/lib/libmoco_cuda.so"
refused cuda:0 "there is no libmoco_cuda.so in $work/lib"
echo "$count refusals"
exit $failed
