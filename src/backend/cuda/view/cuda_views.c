/* SPDX-License-Identifier: MIT
 *
 * cuda_views: pictures that stay in device memory, and the views of a step that are made of them there (kernels/view.cu), in
 * the stream of inputs, beside the step before. What a reader would get wrong: kernels believe what a view's numbers say
 * of its picture. They are looked at here, on the host, before they are queued. */
#include <string.h>

#include "backend/cuda/cuda.h"

/* ---- pictures ---- */

static moco_status place_pictures(struct be_pictures *p, const int32_t (*side)[2], int64_t *bytes, struct err *err)
{
    int64_t at = 0;
    for (int64_t i = 0; i < p->count; i++) {
        int64_t w = side[i][0], h = side[i][1];
        if (w < 1 || h < 1 || w * h > (INT64_MAX - at) / 4)
            return err_set(err, MOCO_EINVAL, "%s: picture %lld of %lld x %lld cannot be kept", p->dev->name,
                           (long long)i, (long long)w, (long long)h);
        p->host[i] = (struct cuda_picture){at, (int32_t)w, (int32_t)h};
        at += w * h * 3;
    }
    *bytes = at;
    return MOCO_OK;
}

static moco_status take_pictures(struct be_pictures *p, int64_t bytes, struct err *err)
{
    size_t table = (size_t)p->count * sizeof *p->host;
    TRY(cuda_take(p->dev, cuda_up(table) + (size_t)bytes, &p->memory, err));
    p->table = p->memory.at;
    p->pixels = (uint8_t *)p->memory.at + cuda_up(table);
    TRY(cuda_said(p->dev, p->dev->cu->event_create(&p->put, CU_EVENT_NO_TIMING), "cuEventCreate", err));
    TRY(cuda_put(p->dev, p->memory.at, p->host, table, err));
    return cuda_said(p->dev, p->dev->cu->event_record(p->put, p->dev->stream), "cuEventRecord", err);
}

moco_status cuda_pictures_create(struct be_pictures **out, struct be_device *dev, int64_t count,
                                 const int32_t (*side)[2], struct err *err)
{
    int64_t bytes = 0;
    *out = NULL;
    if (count < 1 || count > INT32_MAX)
        return err_set(err, MOCO_EINVAL, "%s: %lld pictures cannot be kept: 1 to %d can", dev->name, (long long)count,
                       INT32_MAX);
    struct be_pictures *p = mem_zalloc(dev->ctx, sizeof *p, err);
    if (p == NULL)
        return MOCO_ENOMEM;
    p->dev = dev;
    p->count = count;
    p->host = mem_array(dev->ctx, (size_t)count, sizeof *p->host, err);
    moco_status status = p->host == NULL ? MOCO_ENOMEM : place_pictures(p, side, &bytes, err);
    if (status == MOCO_OK)
        status = cuda_enter(dev, err);
    if (status == MOCO_OK) {
        status = take_pictures(p, bytes, err);
        cuda_leave(dev);
    }
    if (status != MOCO_OK) {
        cuda_pictures_free(p);
        return status;
    }
    *out = p;
    return MOCO_OK;
}

static moco_status put(struct be_pictures *p, const struct cuda_picture *picture, const void *rgb, struct err *err)
{
    TRY(cuda_put(p->dev, p->pixels + picture->at, rgb, (size_t)picture->w * (size_t)picture->h * 3, err));
    return cuda_said(p->dev, p->dev->cu->event_record(p->put, p->dev->stream), "cuEventRecord", err);
}

moco_status cuda_pictures_put(struct be_pictures *p, int64_t index, const void *rgb, struct err *err)
{
    if (index < 0 || index >= p->count)
        return err_set(err, MOCO_EINVAL, "%s: there is no picture %lld among %lld", p->dev->name, (long long)index,
                       (long long)p->count);
    CUDA_WITHIN(p->dev, put(p, &p->host[index], rgb, err));
    return MOCO_OK;
}

void cuda_pictures_free(struct be_pictures *p)
{
    if (p == NULL)
        return;
    struct ctx *ctx = p->dev->ctx;
    cuda_enter_lost(p->dev);
    p->dev->cu->stream_sync(p->dev->loads); /* views may be made of them yet */
    if (p->put != NULL)
        p->dev->cu->event_destroy(p->put);
    if (p->memory.at != NULL)
        cuda_give(p->dev, &p->memory);
    cuda_leave(p->dev);
    mem_free(ctx, p->host);
    mem_free(ctx, p);
}

int64_t cuda_pictures_bytes(int64_t count, int64_t pixels)
{
    return (int64_t)cuda_up((size_t)count * sizeof(struct cuda_picture)) + 3 * pixels;
}

/* ---- views ---- */

static int is_step(const struct pixel_step *s)
{
    return s->kind >= PIXEL_BLEND && s->kind <= PIXEL_GREY && s->constant >= 0 && s->constant <= 255 &&
           s->factor >= -1024 && s->factor <= 1024;
}

/* What is wrong with the numbers of a view; NULL: nothing. */
static const char *wrong(const struct pixel_view *v, const struct cuda_picture *picture, int size)
{
    if (v->x < 0 || v->y < 0 || v->w < 1 || v->h < 1 || v->w > picture->w - v->x || v->h > picture->h - v->y)
        return "its crop is not inside its picture";
    if (v->ox < 0 || v->oy < 0 || v->ox > v->rw - size || v->oy > v->rh - size)
        return "it is not inside the resized crop";
    if (v->step_count < 0 || v->step_count > PIXEL_STEPS || v->radius < -1 || v->radius > PIXEL_SIDE_MAX)
        return "it has too many steps, or too wide a blur";
    for (int s = 0; s < v->step_count; s++)
        if (!is_step(&v->step[s]))
            return "one of its steps is none";
    return NULL;
}

static int has_room(int cubic, int in, int out)
{
    const struct pixel_filter f = pixel_filter_make(cubic, in, out);
    return f.support < CUDA_VIEW_TAPS && pixel_filter_width(&f) <= CUDA_VIEW_TAPS;
}

moco_status cuda_views_check(const struct be_pictures *p, const struct pixel_view *views, int count, int size,
                             struct err *err)
{
    for (int i = 0; i < count; i++) {
        const struct pixel_view *v = &views[i];
        if (v->picture < 0 || v->picture >= p->count)
            return err_set(err, MOCO_EINVAL, "view %d is of picture %d, and there are %lld", i, (int)v->picture,
                           (long long)p->count);
        const char *why = wrong(v, &p->host[v->picture], size);
        if (why != NULL)
            return err_set(err, MOCO_EINVAL, "view %d of picture %d cannot be made: %s", i, (int)v->picture, why);
        if (!has_room(v->cubic, v->w, v->rw) || !has_room(v->cubic, v->h, v->rh))
            return err_set(err, MOCO_ENOTSUP,
                           "view %d of picture %d cannot be made on %s: %d x %d become %d x %d, by more than %d taps",
                           i, (int)v->picture, p->dev->name, (int)v->w, (int)v->h, (int)v->rw, (int)v->rh,
                           CUDA_VIEW_TAPS);
    }
    return MOCO_OK;
}

static int64_t parts(int of, int each)
{
    return (of + each - 1) / each;
}

moco_status cuda_views_make(const struct be_pictures *p, const struct pixel_view *views, int count, int size, void *out,
                            struct err *err)
{
    struct be_device *dev = p->dev;
    const struct view_args args = {.pixels = p->pixels, .pictures = p->table, .views = views, .out = out, .size = size};
    int64_t tiles = parts(size, CUDA_VIEW_TILE);
    TRY(cuda_said(dev, dev->cu->stream_wait(dev->loads, p->put, 0), "cuStreamWaitEvent", err));
    TRY(cuda_launch_load(dev, CUDA_view_resize, tiles * tiles, count, &args, err));
    TRY(cuda_launch_load(dev, CUDA_view_colour, 1, count, &args, err));
    TRY(cuda_launch_load(dev, CUDA_view_blur_rows, parts(size, CUDA_VIEW_LINES / (3 * size)), count, &args, err));
    return cuda_launch_load(dev, CUDA_view_blur_columns, parts(3 * size, CUDA_VIEW_LINES / size), count, &args, err);
}
