/* SPDX-License-Identifier: MIT
 *
 * hostile_weights: see hostile_weights.h. */
#include "support/files/hostile_weights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "format/weights.h"
#include "support/failing_alloc.h"
#include "support/scratch_folder.h"

/* ---- bytes ---- */

void blob_add(struct blob *blob, const void *bytes, size_t size)
{
    if (blob->size + size > blob->room) {
        blob->room = 2 * (blob->size + size) + 256;
        blob->at = realloc(blob->at, blob->room);
    }
    if (size > 0)
        memcpy(blob->at + blob->size, bytes, size);
    blob->size += size;
}

void blob_set(struct blob *blob, size_t at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        blob->at[at + (size_t)i] = (unsigned char)(value >> 8 * i);
}

void blob_number(struct blob *blob, uint64_t value, int bytes)
{
    static const unsigned char zeros[8];
    blob_add(blob, zeros, (size_t)bytes);
    blob_set(blob, blob->size - (size_t)bytes, value, bytes);
}

void blob_free(struct blob *blob)
{
    free(blob->at);
    *blob = (struct blob){0};
}

/* ---- zip ---- */

static void add_local(struct blob *out, const struct zip_part *part, uint32_t crc)
{
    blob_add(out, "PK\3\4", 4);
    blob_number(out, 0, 2); /* version */
    blob_number(out, part->at_once ? 0x800 : 0x808, 2);
    blob_number(out, 0, 6); /* stored; time and date */
    blob_number(out, part->at_once ? crc : 0, 4);
    blob_number(out, part->at_once ? part->size : 0, 4);
    blob_number(out, part->at_once ? part->size : 0, 4);
    blob_number(out, strlen(part->name), 2);
    blob_number(out, 8, 2);
    blob_add(out, part->name, strlen(part->name));
    blob_add(out, "FB\4\0ZZZZ", 8);
}

static void add_central(struct blob *out, const struct zip_part *part, uint32_t crc, size_t local)
{
    blob_add(out, "PK\1\2", 4);
    blob_number(out, 0, 4); /* versions */
    blob_number(out, part->at_once ? 0x800 : 0x808, 2);
    blob_number(out, 0, 6);
    blob_number(out, crc, 4);
    blob_number(out, part->size, 4);
    blob_number(out, part->size, 4);
    blob_number(out, strlen(part->name), 2);
    blob_number(out, 0, 6); /* extra, comment, part of the archive */
    blob_number(out, 0, 6); /* attributes */
    blob_number(out, local, 4);
    blob_add(out, part->name, strlen(part->name));
}

void zip_bytes(struct blob *out, const struct zip_part *parts, int count, struct zip_places *places)
{
    uint32_t crc[ZIP_PARTS];
    out->size = 0;
    for (int i = 0; i < count; i++) {
        crc[i] = (uint32_t)crc32_z(0, parts[i].bytes, parts[i].size);
        places->local[i] = out->size;
        add_local(out, &parts[i], crc[i]);
        places->content[i] = out->size;
        blob_add(out, parts[i].bytes, parts[i].size);
        places->descriptor[i] = out->size;
        if (parts[i].at_once)
            continue;
        blob_add(out, "PK\7\10", 4);
        blob_number(out, crc[i], 4);
        blob_number(out, parts[i].size, 4);
        blob_number(out, parts[i].size, 4);
    }
    size_t directory = out->size;
    for (int i = 0; i < count; i++) {
        places->central[i] = out->size;
        add_central(out, &parts[i], crc[i], places->local[i]);
    }
    places->end64 = out->size;
    blob_add(out, "PK\6\6", 4);
    blob_number(out, 44, 8);
    blob_number(out, 0, 4); /* versions */
    blob_number(out, 0, 8); /* part of the archive */
    blob_number(out, (uint64_t)count, 8);
    blob_number(out, (uint64_t)count, 8);
    blob_number(out, places->end64 - directory, 8);
    blob_number(out, directory, 8);
    places->locator = out->size;
    blob_add(out, "PK\6\7", 4);
    blob_number(out, 0, 4);
    blob_number(out, places->end64, 8);
    blob_number(out, 1, 4);
    places->end = out->size;
    blob_add(out, "PK\5\6", 4);
    blob_number(out, 0, 4);
    blob_number(out, (uint64_t)count, 2);
    blob_number(out, (uint64_t)count, 2);
    blob_number(out, places->end64 - directory, 4);
    blob_number(out, directory, 4);
    blob_number(out, 0, 2);
}

void torch_zip_bytes(struct blob *out, const void *pickle, size_t size, struct zip_places *places)
{
    static const float numbers[4] = {1, 2, 3, 4};
    const struct zip_part parts[GOOD_PARTS] = {
        {"a/data.pkl", pickle, size, 0}, {"a/data/0", numbers, sizeof numbers, 0}, {"a/version", "3\n", 2, 0}};
    zip_bytes(out, parts, GOOD_PARTS, places);
}

/* ---- checks ---- */

int hostile_files;
static struct failing_alloc memory;
static struct ctx *ctx;
static struct scratch_folder folder;

int hostile_set_up(void **state)
{
    (void)state;
    memory = (struct failing_alloc){.fail_at = -1};
    struct ctx_options options = {.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1};
    scratch_folder_make(&folder);
    return ctx_create(&ctx, &options, NULL) == MOCO_OK ? 0 : -1;
}

int hostile_tear_down(void **state)
{
    (void)state;
    ctx_unref(ctx);
    scratch_folder_remove(&folder);
    return memory.live == 0 ? 0 : -1;
}

static moco_status read_all(struct weights *w, struct err *err)
{
    for (int64_t i = 0; i < weights_count(w); i++) {
        struct weights_tensor t;
        weights_at(w, i, &t);
        assert_true(t.count >= 0 && t.count <= 1 << 20);
        double *numbers = malloc((size_t)t.count * sizeof *numbers + 1);
        moco_status status = weights_read(w, i, WEIGHTS_F64, numbers, err);
        free(numbers);
        if (status != MOCO_OK)
            return status;
        int64_t found = -1;
        assert_int_equal(weights_find(w, t.name, &found, err), MOCO_OK);
        assert_int_equal(found, i);
    }
    return MOCO_OK;
}

void hostile_check(const char *what, const void *bytes, size_t size, const char *reason)
{
    struct weights *w = NULL;
    struct err err = {0};
    const char *path = scratch_path(&folder, "hostile");
    scratch_write(&folder, "hostile", bytes, size);
    int64_t live = ctx->live_bytes;
    ctx->peak_bytes = live;
    int reading = reason != NULL && *reason == '!';
    moco_status status = weights_open(&w, ctx, path, &err);
    if ((status == MOCO_OK) != (w != NULL))
        fail_msg("%s: status %d and a handle that does not fit", what, status);
    if (reading && status != MOCO_OK)
        fail_msg("%s: refused before it was read: %s", what, err.text);
    if (status == MOCO_OK)
        status = read_all(w, &err);
    weights_close(w);
    int64_t most = ctx->peak_bytes - live;
    assert_int_equal(ctx->live_bytes, live);
    if (most > 4 * (int64_t)size + (1 << 20))
        fail_msg("%s: %lld bytes of memory for a file of %zu", what, (long long)most, size);
    if (reason == NULL && status != MOCO_OK)
        fail_msg("%s: refused: %s", what, err.text);
    if (reason != NULL && (status != MOCO_EFORMAT || strstr(err.text, reason + reading) == NULL ||
                           strstr(err.text, path) == NULL || strstr(err.text, "at byte ") == NULL))
        fail_msg("%s: status %d, \"%s\" does not say \"%s\"", what, status, err.text, reason + reading);
    hostile_files++;
}
