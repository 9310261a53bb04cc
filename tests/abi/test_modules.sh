#!/bin/sh
# SPDX-License-Identifier: MIT
# Devices in modules: libmoco_NAME.so beside libmoco.so, and in the folder that libmoco was built to be installed into.
# A good one, which is "ref" under another name, trains to the same bytes; one of another release, one that is no module
# and one that is no library are refused, each with its reason; and no variable of the environment makes code run.
. "$(dirname "$0")/begin.sh"
mkdir "$work/lib" "$work/libdir" "$work/elsewhere"
cp -P "$BUILD"/libmoco.so* "$work/lib"

# ---- modules ----
cat >"$work/module.c" <<'SOURCE'
#include "backend/backend.h"
#include <string.h>
__attribute__((visibility("default"))) struct backend moco_backend;
static moco_status open_ref(struct be_device **out, struct ctx *ctx, const char *name, struct err *err)
{
    const char *number = strchr(name, ':');
    *out = NULL;
    if (number != NULL && strcmp(number, ":0") != 0)
        return err_set(err, MOCO_ENODEV, "there is one card here, and no %s", name);
    return backend_ref.open(out, ctx, "ref", err);
}
__attribute__((constructor)) static void fill(void)
{
    moco_backend = backend_ref;
    moco_backend.abi += ABI_OFF;
    moco_backend.name = ABI_OFF ? (const char *)1 : NAME; /* of another version nothing may be read but the number */
    moco_backend.open = open_ref;
}
SOURCE
module() { # file, flags...
    file=$1
    shift
    "$CC" -shared -fPIC -fvisibility=hidden -Iinclude -Ilib -Isrc -D_POSIX_C_SOURCE=200809L "$@" -o "$file" "$work/module.c" \
        "$BUILD/libmoco_internal.a" -Wl,--exclude-libs,ALL -Wl,-z,defs -lm -lpthread || exit 1
}
module "$work/lib/libmoco_good.so" -DABI_OFF=0 '-DNAME="good"'
module "$work/lib/libmoco_older.so" -DABI_OFF=-1 '-DNAME="older"'
module "$work/lib/libmoco_other.so" -DABI_OFF=0 '-DNAME="good"'
module "$work/elsewhere/libmoco_far.so" -DABI_OFF=0 '-DNAME="far"'
module "$work/libdir/libmoco_far.so" -DABI_OFF=0 '-DNAME="far"'
echo 'int nothing(void); int nothing(void) { return 0; }' >"$work/empty.c"
"$CC" -shared -fPIC -o "$work/lib/libmoco_empty.so" "$work/empty.c" || exit 1
echo 'int absent(void); int needs(void); int needs(void) { return absent(); }' >"$work/needs.c"
"$CC" -shared -fPIC -o "$work/lib/libmoco_needs.so" "$work/needs.c" || exit 1
printf '%0100d\n' 0 >"$work/lib/libmoco_text.so" # long enough to have a header

# ---- a program of a user, which trains three steps on the device and saves them ----
cat >"$work/user.c" <<'PROGRAM'
#include <moco/moco.h>
#include <stdio.h>
#include <string.h>
static int works(moco_status status)
{
    if (status != MOCO_OK)
        printf("%d: %s\n", (int)status, moco_error());
    return status == MOCO_OK;
}
int main(int argc, char **argv)
{
    static unsigned char image[2][8][16][16][3];
    moco_context *context;
    moco_device *device;
    moco_model *model;
    moco_queue *queue;
    moco_trainer *trainer;
    moco_model_options m;
    moco_trainer_options t;
    moco_batch batch;
    if (argc < 2 || !works(moco_context_create(&context, NULL)) || !works(moco_device_open(&device, context, argv[1])))
        return 1;
    if (argc < 3)
        return 0;
    moco_model_options_init(&m);
    m.arch = "resnet18", m.stem = "small", m.head = "mlp";
    m.width = 0.125, m.dim = 16, m.image_size = 16;
    moco_trainer_options_init(&t);
    t.batch_size = 8, t.bn_group_size = 4, t.image_h = t.image_w = 16;
    moco_batch_init(&batch);
    batch.n = 8, batch.h = batch.w = 16, batch.views = 2;
    batch.view[0] = image[0][0][0][0], batch.view[1] = image[1][0][0][0];
    for (unsigned i = 0; i < sizeof image; i++)
        image[0][0][0][0][i] = (unsigned char)(i * i * 31 >> 7);
    if (!works(moco_model_create(&model, device, &m)) || !works(moco_queue_create(&queue, device, 16, 24, 1)) ||
        !works(moco_trainer_create(&trainer, model, queue, &t)))
        return 1;
    for (int step = 0; step < 3; step++)
        if (!works(moco_trainer_step(trainer, &batch, 0.05)))
            return 1;
    if (!works(moco_trainer_save(trainer, argv[2], NULL)))
        return 1;
    moco_trainer_free(trainer);
    moco_queue_free(queue);
    moco_model_free(model);
    moco_device_free(device);
    moco_context_free(context);
    return 0;
}
PROGRAM
"$CC" -Iinclude -o "$work/user" "$work/user.c" -L"$work/lib" -lmoco || exit 1

trains() { # library folder, device
    rm -f "$work/state"
    LD_LIBRARY_PATH=$1 "$work/user" "$2" "$work/state" >"$work/said" || { fail "$2: $(cat "$work/said")"; return; }
    cmp -s "$work/state" "$work/ref" || fail "$2 trains to other bytes than ref"
    count=$((count + 1))
}
LD_LIBRARY_PATH="$work/lib" "$work/user" ref "$work/ref" || { fail "ref does not train"; exit 1; }
trains "$work/lib" good
trains "$work/lib" good:0

refused() { # library folder, device, words of the sentence...
    folder=$1 name=$2
    shift 2
    LD_LIBRARY_PATH=$folder "$work/user" "$name" >"$work/said" && { fail "$name was opened"; return; }
    grep -q '^-6: moco_device_open: ' "$work/said" || fail "$name: not MOCO_ENODEV: $(cat "$work/said")"
    [ "$(wc -l <"$work/said")" = 1 ] || fail "$name: more than a sentence: $(cat "$work/said")"
    for word in "$@"; do
        grep -qF -- "$word" "$work/said" || fail "$name: the sentence lacks \"$word\": $(cat "$work/said")"
    done
    count=$((count + 1))
}
abi=$(sed -n 's/^.define BACKEND_ABI //p' src/backend/backend.h)
refused "$work/lib" absent "there is no device \"absent\"" ref "no libmoco_absent.so in $work/lib"
refused "$work/lib" older "$work/lib/libmoco_older.so" "for version $((abi - 1)) of" "has version $abi"
refused "$work/lib" empty "$work/lib/libmoco_empty.so" "no symbol moco_backend"
refused "$work/lib" needs "cannot be loaded" "undefined symbol: absent"
refused "$work/lib" text "cannot be loaded" "$work/lib/libmoco_text.so" "invalid ELF header"
refused "$work/lib" other "$work/lib/libmoco_other.so" "is the module of the devices good"
refused "$work/lib" good:1 "there is one card here, and no good:1" # the device's own words
for name in ../lib/libmoco_good good/ good:00000 good: :0 Good 'good:x' ''; do
    refused "$work/lib" "$name" "there is no device \"$name\""
done

# Neither the environment nor the working folder says what code runs.
(cd "$work/elsewhere" && LD_LIBRARY_PATH="$work/lib:$work/elsewhere" PATH="$work/elsewhere:$PATH" "$work/user" far) \
    >"$work/said" && fail "a module was taken from LD_LIBRARY_PATH or the working folder"
(cd "$work/lib" && LD_LIBRARY_PATH=. ../user good) >"$work/said" &&
    fail "a libmoco.so that was loaded by a relative path was asked for modules: the working folder may have changed"

# The folder of the installation, of a build that was told another one. The one beside libmoco.so comes first.
mkdir "$work/build" && cp -a "$BUILD/obj" "$work/build" || exit 1
MAKEFLAGS='' make -s BUILD="$work/build" LIBDIR="$work/libdir" lib >"$work/log" 2>&1 || { cat "$work/log"; fail "make LIBDIR="; }
trains "$work/build" far
mkdir "$work/both" && cp -P "$work/build"/libmoco.so* "$work/both" && cp "$work/lib/libmoco_empty.so" "$work/both/libmoco_far.so"
refused "$work/both" far "$work/both/libmoco_far.so" "no symbol"
refused "$work/build" absent "no libmoco_absent.so in $work/build or in $work/libdir"
echo "$count devices"
exit $failed
