/* SPDX-License-Identifier: MIT
 *
 * pictures: see pictures.h. The pictures are a data set for as long as a call runs. */
#include "algo/serve/pictures.h"

#include <math.h>
#include <string.h>

#include "data/loader.h"

#define PREFETCH 2 /* batches, each of one launch */

struct set {
    struct dataset base; /* the first member */
    const struct pictures *pictures;
    _Atomic int *states; /* [n]: of each picture that could not be read, why */
};

/* A file that cannot be opened or read, and a picture that the recipe does not fit, are bad, as one that is damaged is:
 * the others go on. */
static moco_status read_one(const struct dataset *ds, int64_t id, struct decoder *decoder, struct image *image,
                            struct err *err)
{
    const struct set *set = (const struct set *)ds;
    const struct pictures *p = set->pictures;
    moco_status status = p->paths != NULL ? decode_file(decoder, p->paths[id], image, err)
                                          : decode_memory(decoder, p->bytes[id], p->sizes[id], image, err);
    struct image_box box;
    if (status == MOCO_OK && decoder->wish != NULL) /* not every codec asks */
        status = decoder->wish(decoder->wish_user, image->w, image->h, &box, err);
    if (status == MOCO_OK || status == MOCO_ENOMEM || status == MOCO_ECANCELED)
        return status;
    int lost = status == MOCO_EFORMAT && p->paths != NULL && decoder->unopened;
    atomic_store(&set->states[id], lost ? MOCO_EIO : status);
    return err->status = MOCO_EFORMAT;
}

static int32_t no_label(const struct dataset *ds, int64_t id)
{
    (void)ds;
    (void)id;
    return -1;
}

static moco_status path_of(const struct dataset *ds, int64_t id, char *text, size_t size)
{
    const struct pictures *p = ((const struct set *)ds)->pictures;
    const char *path = p->paths != NULL ? p->paths[id] : "";
    if (strlen(path) >= size)
        return MOCO_ESHAPE;
    memcpy(text, path, strlen(path) + 1);
    return MOCO_OK;
}

static void nothing(struct dataset *ds)
{
    (void)ds;
}

static const struct dataset_ops ops = {read_one, no_label, path_of, dataset_no_class_name, nothing};

/* Rows of the pictures that are there, in the order of `ids`, to where they belong. */
static void place_rows(char *out, size_t row, const moco_batch *batch, const char *rows)
{
    for (int j = 0; j < batch->n; j++)
        memcpy(out + (size_t)batch->ids[j] * row, rows + (size_t)j * row, row);
}

static moco_status embed_all(struct server *server, struct loader *loader, enum embed_what what, char *out, int f64,
                             size_t row, char *rows, struct err *err)
{
    uint64_t since = server_cancels(server);
    for (;;) {
        moco_batch batch = {0};
        moco_status status = loader_next(loader, &batch, err);
        if (status == MOCO_EEND)
            return MOCO_OK;
        TRY(status);
        if (server_cancels(server) != since)
            return err_set(err, MOCO_ECANCELED, "cancelled");
        struct embed_input input = {.images = batch.view[0], .n = batch.n, .h = batch.h, .w = batch.w};
        TRY(server_embed(server, &input, what, rows, f64, err));
        place_rows(out, row, &batch, rows);
    }
}

/* Statuses of all pictures, NaN for those that have no vector, and what the caller wants to know of them. */
static void tell(const struct set *set, struct loader *loader, char *out, int f64, size_t row)
{
    const struct pictures *p = set->pictures;
    struct err err;
    char reason[sizeof err.text];
    int64_t id = -1;
    for (int64_t i = 0; i < p->n; i++)
        p->statuses[i] = MOCO_OK;
    while (loader_bad_after(loader, id, &id, reason, sizeof reason)) {
        int why = atomic_load(&set->states[id]);
        p->statuses[id] = why != 0 ? (moco_status)why : MOCO_EFORMAT; /* or its view could not be made */
        for (size_t j = 0; j < row / (f64 ? 8 : 4); j++)
            if (f64)
                ((double *)(void *)(out + (size_t)id * row))[j] = NAN;
            else
                ((float *)(void *)(out + (size_t)id * row))[j] = NAN;
        if (p->bad != NULL && p->bad(p->user, id, p->paths != NULL ? p->paths[id] : "", reason) != 0)
            return;
    }
}

/* Runs a loader over the pictures once. Without statuses the first picture that cannot be read ends the call. */
static moco_status run(struct server *server, struct set *set, enum embed_what what, void *out, int f64, size_t row,
                       char *rows, struct err *err)
{
    const struct pictures *p = set->pictures;
    struct loader_options options = {.batch_size = server_launch(server, p->recipe.size, p->recipe.size, p->n),
                                     .workers = p->n > 1 ? p->workers : 0,
                                     .prefetch = PREFETCH,
                                     .ranks = 1,
                                     .max_bad = p->n,
                                     .bad = p->statuses != NULL ? MOCO_BAD_SKIP : MOCO_BAD_FAIL,
                                     .max_pixels = p->max_pixels,
                                     .views = 1,
                                     .recipe = {p->recipe}};
    struct loader *loader = NULL;
    TRY(loader_create(&loader, set->base.ctx, &set->base, &options, err));
    moco_status status = loader_start(loader, 0, 0, err);
    if (status == MOCO_OK)
        status = embed_all(server, loader, what, out, f64, row, rows, err);
    if (status == MOCO_OK && p->statuses != NULL)
        tell(set, loader, out, f64, row);
    loader_free(loader);
    return status;
}

moco_status pictures_embed(struct server *server, struct ctx *ctx, const struct pictures *pictures,
                           enum embed_what what, void *out, int f64, struct err *err)
{
    struct embed_shape shape;
    TRY(server_shape(server, what, pictures->recipe.size, pictures->recipe.size, &shape, err));
    struct set set = {.base = {.ops = &ops, .ctx = ctx, .count = pictures->n}, .pictures = pictures};
    set.states = mem_array(ctx, (size_t)pictures->n, sizeof *set.states, err);
    size_t launch = (size_t)server_launch(server, pictures->recipe.size, pictures->recipe.size, pictures->n);
    size_t row = (size_t)shape.count * (f64 ? sizeof(double) : sizeof(float));
    char *rows = mem_array(ctx, launch, row, err);
    moco_status status = set.states == NULL || rows == NULL ? MOCO_ENOMEM : MOCO_OK;
    if (status == MOCO_OK)
        status = run(server, &set, what, out, f64, row, rows, err);
    mem_free(ctx, rows);
    mem_free(ctx, set.states);
    return status;
}
