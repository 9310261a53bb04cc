/* SPDX-License-Identifier: MIT
 *
 * fuzz_probe: a probe file changed by a recipe (recipe.h), with right hashes. What opens holds finite numbers, and
 * saved again it is as large. The first byte says which allocation fails. */
#define _GNU_SOURCE /* memfd_create, mkdtemp */
#include <math.h>

#include "eval/probe.h"
#include "fuzz/support/base_file.h"
#include "fuzz/support/memory_file.h"
#include "fuzz/support/recipe.h"
#include "support/failing_alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct failing_alloc memory = {.fail_at = -1};
static struct ctx *ctx;
static const struct backend *be;
static struct be_device *dev;
static struct forged base;

static moco_status save_base(const char *path, struct err *err)
{
    struct probe_config config = {.dim = 3, .classes = 2, .rates = 2, .lr = {1, 2}, .momentum = 0.9};
    struct probe *probe;
    TRY(probe_create(&probe, ctx, be, dev, &config, err));
    moco_status status = probe_save(probe, path, "a note", err);
    probe_free(probe);
    return status;
}

static void start(void)
{
    struct err err = {0};
    if (ctx_create(
            &ctx,
            &(struct ctx_options){.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1},
            &err) != MOCO_OK ||
        backend_find(&be, "ref", &err) != MOCO_OK || be->open(&dev, ctx, "ref", &err) != MOCO_OK) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    base_file_make(&base, save_base);
}

static void check_probe(const struct probe *p)
{
    const struct probe_config *c = &p->config;
    size_t rows = (size_t)c->rates * (size_t)c->classes;
    double sum = 0;
    for (size_t i = 0; i < rows * (size_t)c->dim; i++)
        sum += isfinite(p->weight[i]) && isfinite(p->weight_v[i]) ? 0 : 1;
    for (size_t i = 0; i < rows; i++)
        sum += isfinite(p->bias[i]) && isfinite(p->bias_v[i]) ? 0 : 1;
    if (sum > 0 || p->steps < 0 || !(c->momentum >= 0 && c->momentum < 1) || !isfinite(c->weight_decay))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (ctx == NULL)
        start();
    if (size < 1)
        return 0;
    size_t file_size;
    char *file = recipe_file(&base, bytes + 1, size - 1, &file_size), note[16] = "";
    const char *path = memory_file((const uint8_t *)file, file_size);
    free(file);
    struct probe *probe = NULL;
    struct err err = {0};
    int64_t live = ctx->live_bytes;
    ctx->peak_bytes = live;
    memory.refused = 0;
    memory.fail_at = bytes[0] == 0 ? -1 : memory.calls + bytes[0] - 1;
    moco_status status = probe_open(&probe, ctx, be, dev, path, note, sizeof note, &err);
    memory.fail_at = -1;
    recipe_check(status, &err, memory.refused > 0, ctx->peak_bytes - live, file_size);
    if ((status == MOCO_OK) != (probe != NULL) || memchr(note, 0, sizeof note) == NULL)
        abort();
    if (probe != NULL)
        check_probe(probe);
    probe_free(probe);
    if (ctx->live_bytes != live)
        abort();
    return 0;
}
