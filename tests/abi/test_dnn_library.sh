#!/bin/sh
# SPDX-License-Identifier: MIT
# How cuDNN is found, without cuDNN: stand-ins in folders of this test, each wrong in one way. Each is refused with
# MOCO_ENODEV and one sentence that says which; the right one is taken from the folder that a pattern names.
. "$(dirname "$0")/begin.sh"
mkdir -p "$work/first" "$work/python3.11/dist-packages/nvidia/cudnn/lib"

cat >"$work/library.c" <<'SOURCE'
#include "backend/cuda/dnn/dnn_library.h"
#define SYMBOL __attribute__((visibility("default")))
SYMBOL size_t cudnnGetVersion(void) { return VERSION; }
SYMBOL size_t cudnnGetCudartVersion(void) { return RUNTIME; }
SYMBOL const char *cudnnGetErrorString(dnn_status status) { (void)status; return ""; }
SYMBOL void cudnnGetLastErrorString(char *text, size_t size) { if (size > 0) *text = 0; }
#ifndef WITHOUT
SYMBOL dnn_status cudnnCreate(dnn_handle *handle) { (void)handle; return 0; }
#endif
SYMBOL dnn_status cudnnDestroy(dnn_handle handle) { (void)handle; return 0; }
#define PLAIN(name) SYMBOL dnn_status name(void); SYMBOL dnn_status name(void) { return 0; }
PLAIN(cudnnSetStream) PLAIN(cudnnBackendCreateDescriptor) PLAIN(cudnnBackendDestroyDescriptor) PLAIN(cudnnBackendFinalize)
PLAIN(cudnnBackendSetAttribute) PLAIN(cudnnBackendGetAttribute) PLAIN(cudnnBackendExecute)
SOURCE
library() { # output, flags...
    rm -f "$1"
    out=$1
    shift
    "$CC" -shared -std=c11 -fPIC -fvisibility=hidden -Iinclude -Ilib -Isrc "$@" -o "$out" "$work/library.c" || exit 1
}
cat >"$work/user.c" <<'PROGRAM'
#include <stdio.h>
#include <stdlib.h>
#include "backend/cuda/dnn/dnn_library.h"
int main(int argc, char **argv)
{
    struct dnn_library lib;
    struct err err = {0};
    int version = 0;
    if (argc != 3)
        return 2;
    moco_status status = dnn_library_load(&lib, argv[1], atoi(argv[2]), &version, &err);
    printf("%d: %s\n", (int)status, status == MOCO_OK ? "taken" : err.text);
    return status == MOCO_OK ? version != 91900 : 1;
}
PROGRAM
"$CC" -std=c11 -D_POSIX_C_SOURCE=200809L -Iinclude -Ilib -Isrc -o "$work/user" "$work/user.c" src/backend/cuda/dnn/dnn_library.c \
    "$BUILD/libmoco_internal.a" -ldl -lpthread -lm 2>"$work/said" || { cat "$work/said"; exit 1; }
folders="$work/none:$work/first:$work/python3*/*-packages/nvidia/cudnn/lib"
refused() { # driver, words...
    driver=$1
    shift
    "$work/user" "$folders" "$driver" >"$work/said" 2>&1 && { fail "it was taken: $*"; return; }
    grep -q '^-6: cuDNN: ' "$work/said" || fail "not MOCO_ENODEV: $(cat "$work/said")"
    [ "$(wc -l <"$work/said")" = 1 ] || fail "more than a sentence: $(cat "$work/said")"
    for word in "$@"; do
        grep -qF -- "$word" "$work/said" || fail "the sentence lacks \"$word\": $(cat "$work/said")"
    done
    count=$((count + 1))
}

refused 13000 "there is no libcudnn.so.9 in $work/none:$work/first"
printf '%0100d\n' 0 >"$work/first/libcudnn.so.9"
refused 13000 "it cannot be loaded" "$work/first/libcudnn.so.9" "invalid ELF header"
library "$work/first/libcudnn.so.9" -DVERSION=91900 -DRUNTIME=13000 -DWITHOUT
refused 13000 "$work/first/libcudnn.so.9 is not cuDNN 9: it has no cudnnCreate"
library "$work/first/libcudnn.so.9" -DVERSION=90700 -DRUNTIME=12000
refused 13000 "is version 9.7.0; 9.8 or newer of version 9 is needed"
library "$work/first/libcudnn.so.9" -DVERSION=100000 -DRUNTIME=13000
refused 13000 "is version 10.0.0; 9.8 or newer"
library "$work/first/libcudnn.so.9" -DVERSION=91900 -DRUNTIME=13000
refused 12040 "was made for CUDA 13, and the driver is of CUDA 12.4" "newer driver" "cuDNN for CUDA 12"
"$work/user" "$folders" 13000 >"$work/said" || fail "it was refused: $(cat "$work/said")"
"$work/user" "$folders" 0 >"$work/said" || fail "without a driver it was refused: $(cat "$work/said")"
rm "$work/first/libcudnn.so.9"
library "$work/python3.11/dist-packages/nvidia/cudnn/lib/libcudnn.so.9" -DVERSION=91900 -DRUNTIME=12000
"$work/user" "$folders" 12000 >"$work/said" || fail "a wheel's folder was not found: $(cat "$work/said")"
echo "$count refusals"
exit $failed
