/* SPDX-License-Identifier: MIT
 *
 * kernels_conv_weights: the gradient of a convolution's weights as products of matrices: for every tap of the
 * kernel, the part of x under the tap times dy, in stretches of output rows that stay in the second-level cache. In
 * f32 the maps are used as panels without copying. In bf16 they are packed, once for all taps, two samples to a
 * pair, so that a tap is a shift of whole pairs. In both cases the part of a tap outside the picture is left out,
 * not multiplied by zeros. Threads divide either the channels of the wider side, or the rows, with one copy of the
 * gradient each that is added up at the end; the cheaper is chosen. What a reader would get wrong: a "unit" below is
 * a pair of samples in bf16 (an odd sample is paired with zeros), and one sample in f32. */
#include <string.h>

#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/simd_table.h"

enum {
    STRETCH = 256,             /* steps of a stretch, about: the dy of a tile stays in the first cache */
    STRETCH_BYTES = 512 << 10, /* of one thread's panels, about */
    REDUCED = 8                /* adding up a number costs as much as packing so many */
};

/* The shape as the loops see it. A kernel of one tap reads only every stride-th pixel; packed, these are neighbours. */
struct conv_view {
    int bf16, lanes, units, h, w, out_h, out_w, kernel, stride, pad;
    int pitch; /* pixels of memory from one that is packed to the next */
};

/* How the work is divided, the same for every thread. */
struct conv_split {
    int rows, channels;   /* parts; their product is at most the number of threads */
    int by_input;         /* the channels are those of x */
    int stretch;          /* rows of output, of units, at most */
    size_t x_own, dy_own; /* channels of one thread, at most */
};

/* Rows of one unit within a stretch, and their position in the panels, in steps. */
struct conv_piece {
    int unit, out_row, out_rows, row, rows;
    size_t x_at, dy_at;
};

/* One thread's part of scratch. */
struct conv_room {
    const uint16_t **pixels; /* [2 * the larger panel]; like the panels in bf16 only */
    struct conv_piece *pieces;
    struct conv_run *runs;
    uint32_t *x, *dy;
    size_t panel_x, panel_dy, bytes;
};

struct conv_job {
    const struct kern_team *team;
    const struct kern_conv *conv;
    struct conv_view view;
    struct conv_split split;
    const void *x, *dy;
    const uint16_t *zeros;
    int accumulate;
    float *dw, *copies; /* copies: [split.rows - 1], of the other parts of the rows */
    char *rooms;
};

static size_t weight_count(const struct kern_conv *conv)
{
    return (size_t)conv->ci * (size_t)conv->co * (size_t)conv->kernel * (size_t)conv->kernel;
}

/* Describes the shape as the kernel sees it. A strided 1 x 1 convolution in bf16 is a plain one over every stride-th
 * pixel. */
static struct conv_view view_of(const struct kern_team *team, const struct kern_conv *conv)
{
    struct conv_view view = {.bf16 = conv->bf16,
                             .lanes = team->simd->conv->lanes,
                             .units = conv->bf16 ? (conv->n + 1) / 2 : conv->n,
                             .h = conv->h,
                             .w = conv->w,
                             .out_h = conv->out_h,
                             .out_w = conv->out_w,
                             .kernel = conv->kernel,
                             .stride = conv->stride,
                             .pad = conv->pad,
                             .pitch = 1};
    if (conv->bf16 && conv->kernel == 1 && conv->pad == 0) {
        view.h = conv->out_h;
        view.w = conv->out_w;
        view.stride = 1;
        view.pitch = conv->stride;
    }
    return view;
}

/* ---- dividing the work ---- */

/* Work of one thread beside the products, which are the same however they are divided. */
static double cost(const struct kern_conv *conv, int rows, int channels, int by_input)
{
    double pixels = (double)conv->n * conv->out_h * conv->out_w, x = conv->ci, dy = conv->co;
    double packed = pixels / rows * (by_input ? x / channels + dy : x + dy / channels);
    return packed + (rows > 1 ? (double)weight_count(conv) * (rows + 1) / (rows * channels) * REDUCED : 0);
}

/* Divides the team into `rows` times `channels` and takes the cheapest division by `cost`; then chooses a stretch
 * that fits the cache. */
static struct conv_split choose(const struct kern_team *team, const struct kern_conv *conv)
{
    struct conv_view view = view_of(team, conv);
    struct conv_split split = {.by_input = conv->ci > conv->co};
    int wide = split.by_input ? conv->ci : conv->co, all = view.units * view.out_h, blocks = wide / view.lanes;
    double least = 0;
    for (int channels = 1; channels <= team->threads && channels <= blocks; channels++) {
        int rows = team->threads / channels;
        if (rows > all)
            rows = all;
        else if (rows * channels != team->threads && channels != blocks)
            continue;
        double its = cost(conv, rows, channels, split.by_input);
        if (split.rows == 0 || its < least) {
            least = its;
            split.rows = rows;
            split.channels = channels;
        }
    }
    size_t own = (size_t)((blocks + split.channels - 1) / split.channels * view.lanes);
    split.x_own = split.by_input ? own : (size_t)conv->ci;
    split.dy_own = split.by_input ? (size_t)conv->co : own;
    size_t steps = STRETCH_BYTES / (sizeof(uint32_t) * (split.x_own + split.dy_own));
    steps = steps < STRETCH ? steps : STRETCH;
    split.stretch = (int)steps / view.out_w;
    int part = (all + split.rows - 1) / split.rows;
    split.stretch = split.stretch < 1 ? 1 : split.stretch > part ? part : split.stretch;
    return split;
}

/* From one packed panel of `pairs` to the next: an odd number of lines, or panels would share the sets of a cache. */
static size_t panel_of(size_t pairs)
{
    return (pairs | 1) * 16;
}

/* Pieces of `at` (NULL: only their sizes). */
static struct conv_room lay_out(const struct conv_view *view, const struct conv_split *split, char *at)
{
    struct conv_room room = {0};
    int most = split->stretch, pieces = (most + view->out_h - 1) / view->out_h + 1;
    int shared =
        view->kernel > view->stride ? view->kernel - view->stride : 0; /* rows of x that two pieces both pack */
    int rows = most * view->stride + pieces * shared;
    rows = rows < pieces * view->h ? rows : pieces * view->h;
    size_t x = (size_t)rows * (size_t)view->w, dy = (size_t)most * (size_t)view->out_w;
    room.panel_x = panel_of(x);
    room.panel_dy = panel_of(dy);
    size_t lanes = (size_t)view->lanes, packed = view->bf16 ? sizeof(uint32_t) : 0;
    size_t sizes[] = {(size_t)pieces * sizeof *room.pieces, (size_t)most * sizeof *room.runs,
                      view->bf16 ? 2 * (x > dy ? x : dy) * sizeof *room.pixels : 0,
                      room.panel_x * (split->x_own / lanes) * packed, room.panel_dy * (split->dy_own / lanes) * packed};
    void *places[sizeof sizes / sizeof *sizes];
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        places[i] = at == NULL ? NULL : at + room.bytes;
        room.bytes += kern_pad64(sizes[i]);
    }
    room.pieces = places[0];
    room.runs = places[1];
    room.pixels = places[2];
    room.x = places[3];
    room.dy = places[4];
    return room;
}

static size_t zero_bytes(const struct kern_conv *conv)
{
    return kern_pad64((size_t)(conv->ci > conv->co ? conv->ci : conv->co) * sizeof(uint16_t));
}

size_t kern_conv_weights_scratch(const struct kern_team *team, const struct kern_conv *conv)
{
    struct conv_view view = view_of(team, conv);
    struct conv_split split = choose(team, conv);
    return zero_bytes(conv) + (size_t)(split.rows * split.channels) * lay_out(&view, &split, NULL).bytes +
           (size_t)(split.rows - 1) * weight_count(conv) * sizeof(float);
}

/* ---- one thread's part ---- */

struct conv_part {
    const struct conv_job *job;
    struct conv_room room;
    int begin, end;         /* rows of output of units */
    size_t x_from, x_count; /* channels */
    size_t dy_from, dy_count;
    const uint32_t *x, *dy; /* first panels, of the thread's first channels */
    size_t panel_x, panel_dy;
    float *out;                /* [co / b][ci / b][taps][b][b], b the lanes */
    struct conv_fetch next[4]; /* what the next stretch packs */
    size_t fetches;            /* lines of it for each half of a tile */
};

/* Cuts rows [begin, end) at the units; returns the number of pieces. */
static int cut(const struct conv_job *job, int begin, int end, struct conv_piece *pieces)
{
    const struct conv_view *view = &job->view;
    int count = 0;
    size_t x_at = 0, dy_at = 0;
    while (begin < end) {
        struct conv_piece piece = {.unit = begin / view->out_h, .out_row = begin % view->out_h};
        piece.out_rows = view->out_h - piece.out_row < end - begin ? view->out_h - piece.out_row : end - begin;
        int first = piece.out_row * view->stride - view->pad;
        int last = (piece.out_row + piece.out_rows - 1) * view->stride - view->pad + view->kernel;
        piece.row = first > 0 ? first : 0;
        piece.rows = (last < view->h ? last : view->h) - piece.row;
        piece.rows = piece.rows > 0 ? piece.rows : 0;
        if (!view->bf16) { /* in the order of the map, one block of channels after the other */
            size_t sample = (size_t)piece.unit, x = (size_t)(job->conv->ci / view->lanes) * (size_t)view->h;
            size_t dy = (size_t)(job->conv->co / view->lanes) * (size_t)view->out_h;
            x_at = (sample * x + (size_t)piece.row) * (size_t)view->w;
            dy_at = (sample * dy + (size_t)piece.out_row) * (size_t)view->out_w;
        }
        piece.x_at = x_at;
        piece.dy_at = dy_at;
        x_at += (size_t)piece.rows * (size_t)view->w;
        dy_at += (size_t)piece.out_rows * (size_t)view->out_w;
        pieces[count++] = piece;
        begin += piece.out_rows;
    }
    return count;
}

/* ---- packing, in bf16 ---- */

/* A map in memory. */
struct conv_map {
    const uint16_t *at; /* of the thread's first channel */
    size_t channels, row, sample, pitch;
};

static struct conv_map map_of(const uint16_t *at, int channels, int h, int w, int pitch)
{
    size_t c = (size_t)channels, step = c * (size_t)pitch;
    return (struct conv_map){at, c, c * (size_t)w * (size_t)pitch, c * (size_t)w * (size_t)h, step};
}

/* Pairs of pixels of `rows` rows; returns the end of the list. */
static const uint16_t **list_rows(const struct conv_part *part, const struct conv_map *map, int unit, int row, int rows,
                                  int w, const uint16_t **to)
{
    int odd = 2 * unit + 1 == part->job->conv->n;
    for (int y = row; y < row + rows; y++) {
        const uint16_t *a = map->at + 2 * (size_t)unit * map->sample + (size_t)y * map->row;
        const uint16_t *b = odd ? part->job->zeros : a + map->sample;
        for (int x = 0; x < w; x++, a += map->pitch, b += odd ? 0 : map->pitch) {
            *to++ = a;
            *to++ = b;
        }
    }
    return to;
}

static struct conv_map map_x(const struct conv_part *part)
{
    const struct kern_conv *conv = part->job->conv;
    return map_of((const uint16_t *)part->job->x + part->x_from, conv->ci, conv->h, conv->w, part->job->view.pitch);
}

static struct conv_map map_dy(const struct conv_part *part)
{
    const struct kern_conv *conv = part->job->conv;
    return map_of((const uint16_t *)part->job->dy + part->dy_from, conv->co, conv->out_h, conv->out_w, 1);
}

static void pack_pieces(const struct conv_part *part, int count)
{
    const struct conv_view *view = &part->job->view;
    void (*pack)(const uint16_t *const *, size_t, size_t, size_t, uint32_t *) = part->job->team->simd->conv->of[1].pack;
    struct conv_map x = map_x(part), dy = map_dy(part);
    const uint16_t **end = part->room.pixels;
    for (int i = 0; i < count; i++) {
        const struct conv_piece *p = &part->room.pieces[i];
        end = list_rows(part, &x, p->unit, p->row, p->rows, view->w, end);
    }
    pack(part->room.pixels, (size_t)(end - part->room.pixels) / 2, part->x_count, part->room.panel_x, part->room.x);
    end = part->room.pixels;
    for (int i = 0; i < count; i++) {
        const struct conv_piece *p = &part->room.pieces[i];
        end = list_rows(part, &dy, p->unit, p->out_row, p->out_rows, view->out_w, end);
    }
    pack(part->room.pixels, (size_t)(end - part->room.pixels) / 2, part->dy_count, part->room.panel_dy, part->room.dy);
}

/* Where out * stride + tap - pad lies within [0, size): out in [*begin, *end), a part of [0, count). */
static void inside(int tap, int stride, int pad, int size, int count, int *begin, int *end)
{
    int low = pad - tap, high = size - 1 + pad - tap;
    *begin = low > 0 ? (low + stride - 1) / stride : 0;
    *end = high >= 0 ? high / stride + 1 : 0;
    *end = *end < count ? *end : count;
    *begin = *begin < *end ? *begin : *end;
}

/* Runs of pairs that one tap multiplies; rows that follow each other on both sides are one run. */
static size_t list_runs(const struct conv_part *part, int count, int ky, int kx)
{
    const struct conv_view *view = &part->job->view;
    struct conv_run *runs = part->room.runs;
    size_t made = 0;
    int x0, x1, y0, y1;
    inside(kx, view->stride, view->pad, view->w, view->out_w, &x0, &x1);
    inside(ky, view->stride, view->pad, view->h, view->out_h, &y0, &y1);
    for (int i = 0; i < count; i++) {
        const struct conv_piece *p = &part->room.pieces[i];
        int first = y0 > p->out_row ? y0 : p->out_row, end = p->out_row + p->out_rows;
        for (int y = first; y < (y1 < end ? y1 : end) && x0 < x1; y++) {
            int row = y * view->stride + ky - view->pad - p->row, x = x0 * view->stride + kx - view->pad;
            struct conv_run run = {.x = p->x_at + (size_t)row * (size_t)view->w + (size_t)x,
                                   .dy = p->dy_at + (size_t)(y - p->out_row) * (size_t)view->out_w + (size_t)x0,
                                   .steps = (size_t)(x1 - x0)};
            struct conv_run *before = made > 0 ? &runs[made - 1] : NULL;
            if (before != NULL && view->stride == 1 && before->x + before->steps == run.x &&
                before->dy + before->steps == run.dy)
                before->steps += run.steps;
            else
                runs[made++] = run;
        }
    }
    return made;
}

/* ---- fetching ahead ---- */

/* Rows [row, row + rows) of `samples` samples from `sample`, of several all of them, in the order of the map: in
 * bf16 pixel after pixel, in f32 the rows of one block of channels after the other. */
static struct conv_fetch fetch_of(const struct conv_part *part, int of_dy, int sample, int samples, int row, int rows)
{
    const struct conv_view *view = &part->job->view;
    size_t channels = of_dy ? part->dy_count : part->x_count, lanes = (size_t)view->lanes;
    size_t w = (size_t)(of_dy ? view->out_w : view->w), h = (size_t)(of_dy ? view->out_h : view->h);
    size_t pixels = (size_t)rows * w, count;
    struct conv_fetch fetch;
    if (view->bf16) {
        struct conv_map map = of_dy ? map_dy(part) : map_x(part);
        fetch.row = (const char *)(map.at + (size_t)sample * map.sample + (size_t)row * map.row);
        fetch.width = channels * sizeof(uint16_t);
        fetch.stride = map.pitch * sizeof(uint16_t);
        count = samples > 1 ? (size_t)samples * h * w : pixels;
    } else {
        size_t all = (size_t)(of_dy ? part->job->conv->co : part->job->conv->ci), plane = h * w * sizeof(float);
        const char *map = (const char *)(of_dy ? part->dy : part->x) + (size_t)sample * all * plane;
        fetch.row = map + (size_t)row * w * lanes * sizeof(float);
        fetch.width = samples > 1 ? channels * plane : pixels * lanes * sizeof(float);
        fetch.stride = samples > 1 ? all * plane : lanes * plane;
        count = samples > 1 ? (size_t)samples : channels / lanes;
    }
    fetch.at = 0;
    fetch.lines = count * ((fetch.width + 63) / 64);
    return fetch;
}

/* What rows [begin, end) will read, spread over the tiles of the stretch before. */
static void plan_fetch(struct conv_part *part, int begin, int end)
{
    const struct conv_view *view = &part->job->view;
    const struct conv_loops *loops = part->job->team->simd->conv;
    struct conv_piece *p = part->room.pieces;
    memset(part->next, 0, sizeof part->next);
    part->fetches = 0;
    if (begin >= end)
        return;
    int count = cut(part->job, begin, end, p), each = view->bf16 ? 2 : 1, first = each * p->unit;
    int samples = part->job->conv->n - first < each * count ? part->job->conv->n - first : each * count;
    if (count == 1)
        for (int i = 0; i < samples; i++) {
            part->next[2 * i] = fetch_of(part, 0, first + i, 1, p->row, p->rows);
            part->next[2 * i + 1] = fetch_of(part, 1, first + i, 1, p->out_row, p->out_rows);
        }
    else {
        part->next[0] = fetch_of(part, 0, first, samples, 0, view->h);
        part->next[1] = fetch_of(part, 1, first, samples, 0, view->out_h);
    }
    size_t lanes = (size_t)loops->lanes, vectors = (size_t)loops->vectors, lines = 0;
    size_t tiles = part->x_count / (size_t)loops->rows * ((part->dy_count / lanes + vectors - 1) / vectors);
    for (int i = 0; i < 4; i++)
        lines += part->next[i].lines;
    part->fetches = lines / (tiles * (size_t)(view->kernel * view->kernel)) + 1;
}

static struct conv_fetch *fetch_now(struct conv_part *part)
{
    int i = 0;
    while (i < 3 && part->next[i].lines == 0)
        i++;
    return &part->next[i];
}

/* ---- products ---- */

/* All tiles of one tap and one stretch. */
static void multiply_tap(struct conv_part *part, size_t runs, int tap, int add)
{
    const struct kern_conv *conv = part->job->conv;
    const struct conv_loops *loops = part->job->team->simd->conv;
    size_t taps = (size_t)(conv->kernel * conv->kernel), lanes = (size_t)loops->lanes, most = (size_t)loops->vectors;
    size_t x_blocks = part->x_count / lanes, dy_blocks = part->dy_count / lanes, inputs = (size_t)conv->ci / lanes;
    struct conv_tile tile = {.runs = part->room.runs,
                             .run_count = runs,
                             .stride = (size_t)part->job->view.stride * lanes,
                             .panel = part->panel_dy,
                             .add = add,
                             .out_step = inputs * taps * lanes * lanes,
                             .fetches = part->fetches};
    size_t tiles = (dy_blocks + most - 1) / most;
    for (size_t t = 0; t < tiles; t++) { /* of one width, or nearly: a narrow one waits for its own sums */
        size_t o = dy_blocks * t / tiles;
        tile.vectors = dy_blocks * (t + 1) / tiles - o;
        tile.dy = part->dy + o * part->panel_dy;
        for (size_t i = 0; i < x_blocks; i++) {
            size_t block = (part->dy_from / lanes + o) * inputs + part->x_from / lanes + i;
            tile.x = part->x + i * part->panel_x;
            tile.out = part->out + (block * taps + (size_t)tap) * lanes * lanes;
            tile.fetch = fetch_now(part);
            loops->of[conv->bf16].multiply(&tile);
        }
    }
}

static void run_part(struct conv_part *part, int add)
{
    const struct conv_view *view = &part->job->view;
    int64_t length = part->end - part->begin, stretch = part->job->split.stretch;
    int64_t stretches = (length + stretch - 1) / stretch;
    for (int64_t s = 0; s < stretches; s++) {
        int begin = part->begin + (int)(length * s / stretches),
            end = part->begin + (int)(length * (s + 1) / stretches);
        int after = s + 2 <= stretches ? part->begin + (int)(length * (s + 2) / stretches) : end;
        plan_fetch(part, end, after);
        int count = cut(part->job, begin, end, part->room.pieces);
        if (view->bf16)
            pack_pieces(part, count);
        for (int tap = 0; tap < view->kernel * view->kernel; tap++)
            multiply_tap(part, list_runs(part, count, tap / view->kernel, tap % view->kernel), tap, add || s > 0);
    }
}

/* One thread's share: which rows, which channels, and which copy of the gradient it adds to. In bf16 it packs into
 * memory of its own; in f32 it reads the maps directly. */
static void multiply_part(void *arg, int thread, int threads)
{
    const struct conv_job *job = arg;
    const struct kern_conv *conv = job->conv;
    const struct conv_split *split = &job->split;
    (void)threads;
    if (thread >= split->rows * split->channels)
        return;
    int copy = thread / split->channels;
    struct conv_part part = {.job = job, .x_count = (size_t)conv->ci, .dy_count = (size_t)conv->co};
    size_t begin, end;
    kern_share((size_t)(job->view.units * job->view.out_h), copy, split->rows, &begin, &end);
    part.begin = (int)begin;
    part.end = (int)end;
    size_t lanes = (size_t)job->view.lanes;
    kern_share((split->by_input ? part.x_count : part.dy_count) / lanes, thread % split->channels, split->channels,
               &begin, &end);
    *(split->by_input ? &part.x_from : &part.dy_from) = begin * lanes;
    *(split->by_input ? &part.x_count : &part.dy_count) = (end - begin) * lanes;
    size_t bytes = lay_out(&job->view, split, NULL).bytes;
    part.room = lay_out(&job->view, split, job->rooms + (size_t)thread * bytes);
    part.x = part.room.x;
    part.dy = part.room.dy;
    part.panel_x = part.room.panel_x;
    part.panel_dy = part.room.panel_dy;
    if (!job->view.bf16) {
        part.panel_x = (size_t)conv->h * (size_t)conv->w * lanes;
        part.panel_dy = (size_t)conv->out_h * (size_t)conv->out_w * lanes;
        part.x = (const uint32_t *)job->x + part.x_from / lanes * part.panel_x;
        part.dy = (const uint32_t *)job->dy + part.dy_from / lanes * part.panel_dy;
    }
    part.out = copy == 0 ? job->dw : job->copies + (size_t)(copy - 1) * weight_count(conv);
    run_part(&part, copy == 0 && job->accumulate);
}

void kern_conv_weights(const struct kern_team *team, const struct kern_conv *conv, const void *x, const void *dy,
                       int accumulate, float *dw, void *scratch)
{
    struct conv_job job = {.team = team,
                           .conv = conv,
                           .view = view_of(team, conv),
                           .split = choose(team, conv),
                           .x = x,
                           .dy = dy,
                           .zeros = scratch,
                           .accumulate = accumulate,
                           .dw = dw,
                           .rooms = (char *)scratch + zero_bytes(conv)};
    size_t parts = (size_t)(job.split.rows * job.split.channels);
    job.copies = (float *)(void *)(job.rooms + parts * lay_out(&job.view, &job.split, NULL).bytes);
    memset(scratch, 0, zero_bytes(conv));
    parallel_run(team->threads, multiply_part, &job);
    for (int copy = 1; copy < job.split.rows; copy++)
        kern_add_floats(team, weight_count(conv), job.copies + (size_t)(copy - 1) * weight_count(conv), dw);
}
