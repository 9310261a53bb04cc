/* SPDX-License-Identifier: MIT
 *
 * fuzz_trainer: a training checkpoint changed by a recipe (recipe.h), with right hashes, described and loaded into a
 * trainer that is there. What describes itself as that trainer's has the tensors for it; what does not load has changed
 * nothing. The first byte says which allocation fails. */
#define _GNU_SOURCE /* memfd_create, mkdtemp */
#include <math.h>

#include "algo/checkpoint.h"
#include "fuzz/support/base_file.h"
#include "fuzz/support/memory_file.h"
#include "fuzz/support/recipe.h"
#include "support/failing_alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct failing_alloc memory = {.fail_at = -1};
static struct ctx *ctx;
static struct encoder *encoder;
static struct queue *queue;
static struct trainer *trainer;
static struct forged base;

static moco_status save_base(const char *path, struct err *err)
{
    return checkpoint_save(trainer, path, "a note", err);
}

static void start(void)
{
    struct net_config config = {.width = 1.0 / 128, .dim = 2, .image_h = 8, .image_w = 8, .std = {1, 1, 1}, .seed = 1};
    moco_trainer_options o = {.batch_size = 4,
                              .bn_group_size = 2,
                              .groups_per_launch = 1,
                              .image_h = 8,
                              .image_w = 8,
                              .precision = MOCO_PRECISION_F64,
                              .temperature = 0.2,
                              .key_momentum = 0.9,
                              .trust_coefficient = 0.001};
    const struct backend *be;
    struct be_device *dev;
    struct err err = {0};
    if (ctx_create(
            &ctx,
            &(struct ctx_options){.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1},
            &err) != MOCO_OK ||
        backend_find(&be, "ref", &err) != MOCO_OK || be->open(&dev, ctx, "ref", &err) != MOCO_OK ||
        net_config_parse(&config, "resnet18", "small", "linear", &err) != MOCO_OK ||
        encoder_create(&encoder, ctx, be, dev, &config, &err) != MOCO_OK ||
        queue_create(&queue, ctx, be, dev, config.dim, 4, 1, &err) != MOCO_OK ||
        trainer_create(&trainer, encoder, queue, &o, NULL, &err) != MOCO_OK) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    base_file_make(&base, save_base);
}

static moco_status describe(const char *path, struct err *err)
{
    struct net_config config;
    moco_trainer_options options = {0};
    int64_t length = -1;
    char note[16] = "";
    moco_status status = checkpoint_describe(ctx, path, &config, &options, &length, note, sizeof note, err);
    if (status == MOCO_OK && (memchr(note, 0, sizeof note) == NULL || length < 0 || options.batch_size < 1 ||
                              config.dim < 1 || !(config.width > 0)))
        abort();
    return status;
}

static moco_status load(const char *path, struct err *err)
{
    uint64_t version = encoder->version;
    moco_status status = checkpoint_load(trainer, path, err);
    if ((status == MOCO_OK) != (encoder->version != version))
        abort();
    int64_t step, epoch, position, row;
    trainer_cursor(trainer, &step, &epoch, &position);
    if (step < 0 || epoch < 0 || position < 0 || queue->next < 0 || queue->next >= queue->length || queue->filled < 0 ||
        queue->filled > queue->length || queue_first_bad(queue, &row, NULL) != MOCO_OK || row >= 0 ||
        slab_check_finite(encoder, encoder->numbers.masters.at, "", NULL, NULL) != MOCO_OK)
        abort();
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
        moco_status status = call == 0 ? describe(path, &err) : load(path, &err);
        memory.fail_at = -1;
        recipe_check(status, &err, memory.refused > 0, ctx->peak_bytes - live, file_size);
        if (ctx->live_bytes != live)
            abort();
    }
    return 0;
}
