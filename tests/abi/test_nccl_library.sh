#!/bin/sh
# SPDX-License-Identifier: MIT
# How NCCL is found, without NCCL: stand-ins in folders of this test, each wrong in one way. Each is refused with
# MOCO_ENODEV and one sentence that says which; the right one is taken from the folder that a pattern names. Then the real
# one, where there is one: it makes ids without a GPU, and says in a status that it cannot join.
. "$(dirname "$0")/begin.sh"
: "${NCCL:=/usr/local/cuda/lib64:/usr/local/cuda/lib:/usr/lib/x86_64-linux-gnu}"
mkdir -p "$work/first" "$work/python3.11/dist-packages/nvidia/nccl/lib"

cat >"$work/library.c" <<'SOURCE'
#include "backend/cuda/nccl/nccl_library.h"
#define SYMBOL __attribute__((visibility("default")))
SYMBOL nccl_result ncclGetVersion(int *version) { *version = VERSION; return 0; }
#ifndef WITHOUT
SYMBOL nccl_result ncclCommFinalize(nccl_comm comm) { (void)comm; return 0; }
#endif
#define PLAIN(name) SYMBOL nccl_result name(void); SYMBOL nccl_result name(void) { return 0; }
PLAIN(ncclGetUniqueId) PLAIN(ncclCommInitRankConfig) PLAIN(ncclCommDestroy) PLAIN(ncclCommAbort) PLAIN(ncclCommGetAsyncError)
PLAIN(ncclGetErrorString) PLAIN(ncclGetLastError) PLAIN(ncclAllReduce) PLAIN(ncclAllGather)
SOURCE
library() { # output, flags...
    rm -f "$1"
    out=$1
    shift
    "$CC" -shared -std=c11 -fPIC -fvisibility=hidden -Iinclude -Ilib -Isrc "$@" -o "$out" "$work/library.c" || exit 1
}
cat >"$work/user.c" <<'PROGRAM'
#include <stdio.h>
#include <string.h>
#include "backend/cuda/nccl/nccl_library.h"

/* Without a driver: everything that needs no GPU works, and what does is refused in a status, not by a signal. */
static int try_real(const struct nccl_library *lib)
{
    nccl_id first, second;
    nccl_config config = {.size = sizeof config, .magic = (unsigned)NCCL_CONFIG_MAGIC, .version = NCCL_CONFIG_VERSION};
    nccl_comm comm = NULL;
    if (lib->make_id(&first) != NCCL_OK || lib->make_id(&second) != NCCL_OK)
        return printf("it makes no id\n");
    if (memcmp(&first, &second, sizeof first) == 0)
        return printf("two ids are one\n");
    nccl_result result = lib->join(&comm, 2, first, 0, &config);
    for (int i = 0; i < 1000000 && result == NCCL_BUSY; i++)
        lib->async_error(comm, &result);
    printf("join: %d: %s: %s\n", result, lib->error_string(result), lib->last_error(comm));
    return 0;
}

int main(int argc, char **argv)
{
    struct nccl_library lib;
    struct err err = {0};
    char name[32];
    moco_status status = nccl_library_load(&lib, argv[1], &err);
    printf("%d: %s\n", (int)status, status == MOCO_OK ? "taken" : err.text);
    if (status != MOCO_OK)
        return 1;
    nccl_library_name(&lib, name, sizeof name);
    puts(name);
    return argc == 3 && try_real(&lib) != 0;
}
PROGRAM
"$CC" -std=c11 -D_POSIX_C_SOURCE=200809L -Iinclude -Ilib -Isrc -o "$work/user" "$work/user.c" src/backend/cuda/nccl/nccl_library.c \
    "$BUILD/libmoco_internal.a" -ldl -lpthread -lm 2>"$work/said" || { cat "$work/said"; exit 1; }
folders="$work/none:$work/first:$work/python3*/*-packages/nvidia/nccl/lib"
refused() { # words...
    "$work/user" "$folders" >"$work/said" 2>&1 && { fail "it was taken: $*"; return; }
    grep -q '^-6: NCCL: ' "$work/said" || fail "not MOCO_ENODEV: $(cat "$work/said")"
    [ "$(wc -l <"$work/said")" = 1 ] || fail "more than a sentence: $(cat "$work/said")"
    for word in "$@"; do
        grep -qF -- "$word" "$work/said" || fail "the sentence lacks \"$word\": $(cat "$work/said")"
    done
    count=$((count + 1))
}

refused "there is no libnccl.so.2 in $work/none:$work/first"
printf '%0100d\n' 0 >"$work/first/libnccl.so.2"
refused "it cannot be loaded" "$work/first/libnccl.so.2" "invalid ELF header"
library "$work/first/libnccl.so.2" -DVERSION=22809 -DWITHOUT
refused "$work/first/libnccl.so.2 has no ncclCommFinalize; NCCL 2.18 or newer is needed"
library "$work/first/libnccl.so.2" -DVERSION=21701
refused "is version 2.17.1; 2.18 or newer of version 2 is needed"
library "$work/first/libnccl.so.2" -DVERSION=2804
refused "is version 2.8.4; 2.18 or newer"
library "$work/first/libnccl.so.2" -DVERSION=30000
refused "is version 3.0.0; 2.18 or newer"
rm "$work/first/libnccl.so.2"
library "$work/python3.11/dist-packages/nvidia/nccl/lib/libnccl.so.2" -DVERSION=22809
"$work/user" "$folders" >"$work/said" || fail "a wheel's folder was not found: $(cat "$work/said")"
grep -qx 'NCCL 2.28.9' "$work/said" || fail "its name is another one: $(cat "$work/said")"
echo "$count refusals"

# ---- the real one ----
if "$work/user" "$NCCL" real >"$work/said" 2>&1; then
    cat "$work/said"
    if [ ! -e /dev/nvidia0 ]; then
        # It looks for a driver before it looks at the configuration, which is therefore not tested here.
        grep -q '^join: 1: .*driver' "$work/said" || fail "it should say that there is no driver"
    fi
elif grep -q 'there is no libnccl' "$work/said"; then
    echo "not tested here: NCCL itself: there is none in $NCCL"
else
    fail "$(cat "$work/said")"
fi
exit $failed
