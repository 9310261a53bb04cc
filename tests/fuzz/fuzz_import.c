/* SPDX-License-Identifier: MIT
 *
 * fuzz_import: a file imported as an encoder and as a training state. The first byte of an input says which allocation
 * fails, and whether the trainer is one of SimCLR's, which has neither queue nor key encoder; the second what is asked for and whether the file is the rest as it is, or a training state of a tiny network
 * changed by a recipe (recipe.h), whose names, shapes and types are what an import goes by; lines ">OLD=NEW" before the
 * recipe rename all tensors that begin with OLD, as another framework would have it, and ">#=OLD" gives the buffers of
 * momentum numbers in the optimizer OLD, as PyTorch has them. What is made holds finite
 * numbers; what fails has made nothing and changed nothing; each says why in one sentence, and the memory that it took
 * is as the file's size allows. */
#define _GNU_SOURCE /* memfd_create, mkdtemp */
#include "algo/checkpoint.h"
#include "algo/import/import.h"
#include "algo/trainer_state.h"
#include "fuzz/support/base_file.h"
#include "fuzz/support/encoder_check.h"
#include "fuzz/support/memory_file.h"
#include "fuzz/support/recipe.h"
#include "support/failing_alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { ROOM = 1 << 16, AS_IT_IS = 1, KEY = 2, TAKE = 4, FRESH = 8, PREFIX = 16, STEM = 32, HEAD = 64, CUT = 128 };
enum { FAIL_AT = 127, SIMCLR = 128 }; /* of the first byte */

static struct failing_alloc memory = {.fail_at = -1, .ends_only = 1};
static struct ctx *ctx;
static const struct backend *be;
static struct be_device *dev;
static struct trainer *trainer, *simclr;
static struct forged base;

static moco_status save_base(const char *path, struct err *err)
{
    return checkpoint_save(trainer, path, NULL, err);
}

static void start(void)
{
    struct net_config config = {.width = 1.0 / 64, .dim = 2, .image_h = 8, .image_w = 8, .std = {1, 1, 1}, .seed = 1};
    struct encoder *encoder, *other;
    struct queue *queue;
    moco_trainer_options o = {.batch_size = 4,
                              .bn_group_size = 2,
                              .groups_per_launch = 1,
                              .image_h = 8,
                              .image_w = 8,
                              .precision = MOCO_PRECISION_F64,
                              .temperature = 0.2,
                              .key_momentum = 0.9,
                              .trust_coefficient = 0.001};
    moco_trainer_options both = o;
    both.negatives = MOCO_NEGATIVES_BATCH;
    both.encoder_k = MOCO_KEY_SHARED;
    both.loss = MOCO_LOSS_NTXENT;
    both.optimizer = MOCO_OPTIMIZER_LARS;
    both.groups_per_launch = 0;
    struct err err = {0};
    if (ctx_create(
            &ctx,
            &(struct ctx_options){.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1},
            &err) != MOCO_OK ||
        backend_find(&be, "ref", &err) != MOCO_OK || be->open(&dev, ctx, "ref", &err) != MOCO_OK ||
        net_config_parse(&config, "resnet18", "small", "linear", &err) != MOCO_OK ||
        encoder_create(&encoder, ctx, be, dev, &config, &err) != MOCO_OK ||
        queue_create(&queue, ctx, be, dev, config.dim, 4, 1, &err) != MOCO_OK ||
        encoder_create(&other, ctx, be, dev, &config, &err) != MOCO_OK ||
        trainer_create(&trainer, encoder, queue, &o, NULL, &err) != MOCO_OK ||
        trainer_create(&simclr, other, NULL, &both, NULL, &err) != MOCO_OK) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    base_file_make(&base, save_base);
}

static void rename_all(struct forged *f, const char *old, const char *fresh)
{
    size_t length = strlen(old);
    for (int i = 0; i < f->tensor_count; i++) {
        char name[2 * sizeof f->tensors[i].name];
        if (strncmp(f->tensors[i].name, old, length) != 0)
            continue;
        int now = snprintf(name, sizeof name, "%s%s", fresh, f->tensors[i].name + length);
        if (now > 0 && now < (int)sizeof f->tensors[i].name)
            strcpy(f->tensors[i].name, name);
    }
}

/* What PyTorch calls the buffers of momentum: the number of the parameter in the optimizer's list. */
static void number_momentum(struct forged *f, const char *optimizer)
{
    char old[sizeof f->tensors[0].name], fresh[sizeof old];
    for (int p = 0; p < trainer->graph->param_count; p++)
        for (int i = 0; i < f->tensor_count; i++) {
            snprintf(old, sizeof old, "momentum.encoder_q.%s", trainer->graph->params[p].name);
            snprintf(fresh, sizeof fresh, "%.100s.state.%d.momentum_buffer", optimizer, p);
            if (strcmp(f->tensors[i].name, old) == 0)
                strcpy(f->tensors[i].name, fresh);
        }
}

/* The base with its tensors renamed and changed (the caller frees); few programs write hashes, and they take time. */
static char *changed_file(const uint8_t *at, size_t size, int hashes, size_t *file_size)
{
    const uint8_t *end = at + size;
    struct forged f;
    forged_copy(&f, &base);
    while (at < end && *at == '>') {
        const uint8_t *stop = memchr(at, '\n', (size_t)(end - at));
        char line[256];
        size_t length = (size_t)((stop != NULL ? stop : end) - at) - 1;
        length = length < sizeof line ? length : sizeof line - 1;
        memcpy(line, at + 1, length);
        line[length] = 0;
        char *fresh = strchr(line, '=');
        if (fresh != NULL) {
            *fresh++ = 0;
            if (strcmp(line, "#") == 0)
                number_momentum(&f, fresh);
            else
                rename_all(&f, line, fresh);
        }
        at = stop != NULL ? stop + 1 : end;
    }
    recipe_change(&f, at, (size_t)(end - at));
    char *file = forged_bytes(&f, hashes, file_size);
    forged_free(&f);
    return file;
}

/* ---- what must hold ---- */

static void hear(void *user, int32_t kind, const char *sentence)
{
    if (kind < 0 || kind >= MOCO_IMPORT_KINDS || sentence[0] == 0 || strlen(sentence) >= 1024)
        abort();
    ++*(int64_t *)user;
}

static void check_report(const moco_import_report *report, int64_t heard)
{
    for (int k = 0; k < MOCO_IMPORT_KINDS; k++)
        heard -= report->count[k];
    if ((heard != 0 && report->line != NULL) || memchr(report->prefix, 0, sizeof report->prefix) == NULL)
        abort();
}

static moco_status import_one(struct weights *w, unsigned ask, struct err *err)
{
    struct encoder *made = NULL;
    int64_t heard = 0;
    moco_import_report report = {.line = ask & FRESH ? NULL : hear, .user = &heard};
    const moco_import_options o = {.which = ask & KEY ? MOCO_IMPORT_KEY : MOCO_IMPORT_QUERY,
                                   .prefix = ask & PREFIX ? "encoder_k" : NULL,
                                   .stem = ask & STEM ? "small" : NULL,
                                   .head = ask & HEAD ? "linear" : NULL,
                                   .dim = ask & HEAD ? 2 : 0,
                                   .take_head = ask & TAKE    ? MOCO_IMPORT_HEAD_TAKE
                                                : ask & FRESH ? MOCO_IMPORT_HEAD_FRESH
                                                              : MOCO_IMPORT_HEAD_IF_THERE,
                                   .std = {1, 1, 1},
                                   .image_size = 8};
    moco_status status = import_encoder(&made, ctx, be, dev, w, &o, &report, err);
    if ((status == MOCO_OK) != (made != NULL))
        abort();
    check_report(&report, heard);
    if (made != NULL)
        check_encoder(made);
    encoder_free(made);
    return status;
}

static moco_status import_state(struct trainer *t, struct weights *w, struct err *err)
{
    uint64_t version = t->query->version;
    struct queue *queue = t->queue;
    int64_t step, epoch, position, row = -1, heard = 0;
    moco_import_report report = {.line = hear, .user = &heard};
    moco_status status = import_trainer(t, w, &report, err);
    if ((status == MOCO_OK) != (t->query->version != version))
        abort();
    check_report(&report, heard);
    trainer_cursor(t, &step, &epoch, &position);
    if (step < 0 || epoch < 0 || position != 0 ||
        slab_check_finite(t->query, t->momentum.at, "", NULL, NULL) != MOCO_OK)
        abort();
    if (queue != NULL && (queue->next < 0 || queue->next >= queue->length || queue->filled < 0 ||
                          queue->filled > queue->length || queue_first_bad(queue, &row, NULL) != MOCO_OK || row >= 0))
        abort();
    check_encoder(t->query);
    if (t->key != NULL)
        check_encoder(t->key);
    return status;
}

static void list_candidates(const struct weights *w)
{
    moco_import_found found;
    for (int64_t i = 0; import_candidate(ctx, w, i, &found, NULL) == MOCO_OK; i++)
        if (memchr(found.prefix, 0, sizeof found.prefix) == NULL || i > weights_count(w))
            abort();
}

static void check_refusal(moco_status status, const struct err *err, int excused)
{
    char again[sizeof err->text + 1];
    utf8_printable(again, sizeof again, err->text);
    if (strcmp(again, err->text) != 0 || (status != MOCO_OK) != (err->text[0] != 0))
        abort();
    if (status != MOCO_OK && status != MOCO_EFORMAT && status != MOCO_EINVAL && status != MOCO_ENOTFOUND && !excused)
        abort();
}

static void import_all(struct weights *w, unsigned ask, int excused, size_t size, unsigned first)
{
    int fail_at = (int)(first & FAIL_AT);
    struct trainer *t = first & SIMCLR ? simclr : trainer;
    for (int call = 0; call < 2; call++) {
        struct err err = {0};
        int64_t live = ctx->live_bytes;
        ctx->peak_bytes = live;
        memory.refused = 0;
        memory.fail_at = fail_at == 0 ? -1 : memory.calls + fail_at - 1;
        moco_status status = call == 0 ? import_one(w, ask, &err) : import_state(t, w, &err);
        memory.fail_at = -1;
        check_refusal(status, &err, excused || (memory.refused > 0 && status == MOCO_ENOMEM));
        /* numbers of one byte become eight, in the model and on their way; a head's are drawn */
        if (ctx->live_bytes != live || ctx->peak_bytes - live > 32 * (int64_t)size + (4 << 20))
            abort();
    }
    list_candidates(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (ctx == NULL)
        start();
    if (size < 3 || size > ROOM)
        return 0;
    unsigned ask = bytes[1];
    size_t file_size = size - 2;
    char *made = ask & AS_IT_IS ? NULL : changed_file(bytes + 2, size - 2, bytes[0] != 0, &file_size);
    const char *path = memory_file(made != NULL ? (const uint8_t *)made : bytes + 2, file_size);
    struct weights *w = NULL;
    struct err err = {0};
    free(made);
    memory.fail_at = -1;
    moco_status status = weights_open(&w, ctx, path, &err);
    check_refusal(status, &err, 0);
    if (w != NULL) {
        if (ask & CUT)
            memory_file_cut(file_size - file_size / 8);
        import_all(w, ask, (ask & CUT) != 0, file_size, bytes[0]);
    }
    weights_close(w);
    return 0;
}
