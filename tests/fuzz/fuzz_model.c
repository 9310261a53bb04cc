/* SPDX-License-Identifier: MIT
 *
 * fuzz_model: a model file changed by a recipe (recipe.h), with right hashes, opened as a new encoder and read into one
 * that is there. What opens holds numbers that a network can have; what does not has changed nothing. The first byte
 * says which allocation fails. */
#define _GNU_SOURCE /* memfd_create, mkdtemp */
#include <math.h>

#include "algo/encoder_file.h"
#include "fuzz/support/base_file.h"
#include "fuzz/support/encoder_check.h"
#include "fuzz/support/memory_file.h"
#include "fuzz/support/recipe.h"
#include "support/failing_alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct failing_alloc memory = {.fail_at = -1};
static struct ctx *ctx;
static const struct backend *be;
static struct be_device *dev;
static struct encoder *there;
static struct forged base;

static moco_status save_base(const char *path, struct err *err)
{
    return encoder_save(there, path, err);
}

static void start(void)
{
    struct net_config config = {.width = 1.0 / 128, .dim = 2, .image_h = 8, .image_w = 8, .std = {1, 1, 1}, .seed = 1};
    struct err err = {0};
    if (ctx_create(
            &ctx,
            &(struct ctx_options){.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1},
            &err) != MOCO_OK ||
        backend_find(&be, "ref", &err) != MOCO_OK || be->open(&dev, ctx, "ref", &err) != MOCO_OK ||
        net_config_parse(&config, "resnet18", "small", "linear", &err) != MOCO_OK ||
        encoder_create(&there, ctx, be, dev, &config, &err) != MOCO_OK) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    base_file_make(&base, save_base);
}

static moco_status open_new(const char *path, struct err *err)
{
    struct encoder *e = NULL;
    moco_status status = encoder_open(&e, ctx, be, dev, path, err);
    if ((status == MOCO_OK) != (e != NULL))
        abort();
    if (e != NULL)
        check_encoder(e);
    encoder_free(e);
    return status;
}

static moco_status load(const char *path, struct err *err)
{
    uint64_t version = there->version;
    moco_status status = encoder_load(there, path, err);
    if ((status == MOCO_OK) != (there->version != version))
        abort();
    check_encoder(there);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (ctx == NULL)
        start();
    if (size < 1)
        return 0;
    size_t file_size;
    char *file = recipe_file(&base, bytes + 1, size - 1, &file_size);
    const char *path = memory_file((const uint8_t *)file, file_size);
    free(file);
    for (int call = 0; call < 2; call++) {
        struct err err = {0};
        int64_t live = ctx->live_bytes;
        ctx->peak_bytes = live;
        memory.refused = 0;
        memory.fail_at = bytes[0] == 0 ? -1 : memory.calls + bytes[0] - 1;
        moco_status status = call == 0 ? open_new(path, &err) : load(path, &err);
        memory.fail_at = -1;
        recipe_check(status, &err, memory.refused > 0, ctx->peak_bytes - live, file_size);
        if (ctx->live_bytes != live)
            abort();
    }
    return 0;
}
