/* SPDX-License-Identifier: MIT
 *
 * test_device_views: views made by the CUDA backend of pictures in its memory, on its simulated driver, against those that
 * data/view makes of the same draws, to the byte: every recipe, pictures and views of odd sizes down to one pixel, wide
 * blurs, strong jitter; in any order of threads; given and made views side by side; and what is refused, and why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "algo/resident/resident.h"
#include "backend/cuda/cuda.h"
#include "data/dataset/dataset.h"
#include "data/view/augment.h"
#include "support/cudasim/sim_driver.h"
#include "support/cudasim/simt.h"
#include "support/draw_image.h"

#define DEVICE "cudasim:0"

static const int32_t sides[][2] = {{32, 32}, {32, 32}, {1, 1},   {1, 70},  {90, 2},  {33, 47},  {185, 97},
                                   {5, 5},   {64, 48}, {224, 1}, {32, 32}, {300, 9}, {130, 310}};
enum { PICTURES = sizeof sides / sizeof sides[0], GREY = 10 }; /* GREY: all of its pixels are */

struct bench {
    struct ctx *ctx;
    const struct backend *be;
    struct be_device *dev;
    struct graph *graph;
    struct be_layout *layout;
    struct be_program *program;
    struct be_pictures *pictures;
    struct augment_scratch scratch;
    uint8_t *rgb[PICTURES];
    int size, n;
    uint8_t *made, *wanted; /* [n][size][size][3] */
    struct pixel_view *views;
};

static void ok(moco_status status, const struct err *err)
{
    if (status != MOCO_OK)
        fail_msg("status %d: %s", (int)status, err->text);
}

static const double mean[3] = {0.5, 0.5, 0.5}, deviation[3] = {0.2, 0.2, 0.2};

static void open_device(struct bench *b)
{
    struct err err = {0};
    *b = (struct bench){.ctx = NULL};
    ok(ctx_create(&b->ctx, &(struct ctx_options){.threads = 1}, &err), &err);
    ok(backend_find(&b->be, DEVICE, &err), &err);
    ok(b->be->open(&b->dev, b->ctx, DEVICE, &err), &err);
    ok(graph_create(&b->graph, b->ctx, &err), &err);
    struct graph *g = b->graph;
    int features = graph_gap(g, graph_conv(g, graph_input(g, 8, 8, mean, deviation), "conv1", 4, 3, 1, 1));
    int projection = graph_linear(g, features, "fc", 4);
    ok(graph_freeze(g, features, projection, graph_l2norm(g, projection), &err), &err);
    ok(b->be->layout_create(&b->layout, b->dev, g, BE_F32, &err), &err);
    augment_scratch_init(&b->scratch, b->ctx);
}

static void draw_pictures(struct bench *b)
{
    struct err err = {0};
    ok(b->be->pictures_create(&b->pictures, b->dev, PICTURES, sides, &err), &err);
    for (int i = 0; i < PICTURES; i++) {
        size_t pixels = (size_t)sides[i][0] * (size_t)sides[i][1];
        b->rgb[i] = malloc(pixels * 3);
        assert_non_null(b->rgb[i]);
        draw_pixels(b->rgb[i], sides[i][0], sides[i][1], i + 1);
        for (size_t p = 0; i == GREY && p < pixels; p++)
            b->rgb[i][3 * p + 1] = b->rgb[i][3 * p + 2] = b->rgb[i][3 * p];
        ok(b->be->pictures_put(b->pictures, i, b->rgb[i], &err), &err);
    }
}

static void open_program(struct bench *b, int size, int n)
{
    struct err err = {0};
    size_t bytes = (size_t)n * (size_t)size * (size_t)size * 3;
    b->size = size;
    b->n = n;
    const struct be_program_spec spec = {.layout = b->layout, .view_bytes = bytes, .views = 2, .view_size = size};
    ok(b->be->program_create(&b->program, b->dev, &spec, &err), &err);
    b->made = malloc(bytes);
    b->wanted = malloc(bytes);
    b->views = calloc((size_t)n, sizeof *b->views);
    assert_true(b->made != NULL && b->wanted != NULL && b->views != NULL);
}

static void close_program(struct bench *b)
{
    b->be->program_free(b->program);
    free(b->made);
    free(b->wanted);
    free(b->views);
}

static void close_one(struct bench *b)
{
    for (int i = 0; i < PICTURES; i++)
        free(b->rgb[i]);
    augment_scratch_free(&b->scratch);
    b->be->pictures_free(b->pictures);
    b->be->layout_free(b->layout);
    b->be->close(b->dev);
    graph_free(b->graph);
    assert_int_equal(b->ctx->live_bytes, 0);
    ctx_unref(b->ctx);
}

static void close_device(struct bench *b)
{
    close_one(b);
    assert_int_equal(sim_live(), 0);
}

static moco_status begin(struct bench *b, const struct be_input *input, struct be_input *at, struct err *err)
{
    const struct be_scalars scalars = {
        .lr = 0.1, .temperature = 1, .loss_scale = 1, .gradient_limit = (double)INFINITY};
    int skip;
    return b->be->program_begin(b->program, &scalars, input, at, &skip, err);
}

/* What the device makes of b->views, as view `v` of a step whose other view is given. */
static void make(struct bench *b, int v)
{
    struct err err = {0};
    size_t bytes = (size_t)b->n * (size_t)b->size * (size_t)b->size * 3;
    struct be_input input = {.pictures = b->pictures}, at;
    input.made[v] = b->views;
    input.view[1 - v] = b->wanted;
    ok(begin(b, &input, &at, &err), &err);
    ok(b->be->read(b->dev, b->made, at.view[1 - v], bytes, &err), &err);
    assert_memory_equal(b->made, b->wanted, bytes);
    ok(b->be->read(b->dev, b->made, at.view[v], bytes, &err), &err);
    b->be->program_drop(b->program);
}

static int has_room(const struct pixel_view *v)
{
    const struct pixel_filter across = pixel_filter_make(v->cubic, v->w, v->rw),
                              down = pixel_filter_make(v->cubic, v->h, v->rh);
    return pixel_filter_width(&across) <= CUDA_VIEW_TAPS && pixel_filter_width(&down) <= CUDA_VIEW_TAPS;
}

/* Draws view i as `sample` of a recipe; of a picture that is too large for the view, of the next one. */
static void draw_one(struct bench *b, const moco_augment_options *o, int i, uint64_t sample)
{
    struct err err = {0};
    struct pixel_view *v = &b->views[i];
    int picture = o->crop == AUGMENT_CROP_NONE ? 0 : (int)(sample % PICTURES);
    struct image image;
    for (;; picture = (picture + 1) % PICTURES) {
        struct rng rng;
        struct augment_params p;
        image = (struct image){.pixels = b->rgb[picture],
                               .w = sides[picture][0],
                               .h = sides[picture][1],
                               .stride = (size_t)sides[picture][0] * 3};
        rng_init(&rng, 3, 1, sample, 0, RNG_AUGMENT);
        ok(augment_draw(o, image.w, image.h, &rng, &p, &err), &err);
        augment_how(&p, v);
        if (has_room(v))
            break;
    }
    v->picture = picture;
    uint8_t *wanted = b->wanted + (size_t)i * (size_t)b->size * (size_t)b->size * 3;
    ok(augment_make(v, &image, b->size, &b->scratch, wanted, &err), &err);
}

static int first_difference(const struct bench *b)
{
    size_t image = (size_t)b->size * (size_t)b->size * 3;
    for (int i = 0; i < b->n; i++)
        if (memcmp(b->made + (size_t)i * image, b->wanted + (size_t)i * image, image) != 0)
            return i;
    return -1;
}

static int compared;

static void compare(struct bench *b, const char *name, const moco_augment_options *o, int rounds)
{
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < b->n; i++)
            draw_one(b, o, i, (uint64_t)(round * b->n + i));
        make(b, round % 2);
        int other = first_difference(b);
        if (other >= 0)
            fail_msg("%s at %d: view %d of picture %d has other bytes", name, b->size, other,
                     (int)b->views[other].picture);
        compared += b->n;
    }
}

static const char *const recipes[] = {"moco-v1",        "moco-v2", "cifar10",     "demo", "simclr",
                                      "simclr-cifar10", "eval",    "simclr-eval", "none"};

static moco_augment_options recipe(const char *name, int size)
{
    moco_augment_options o = {0};
    struct err err = {0};
    ok(augment_recipe(&o, name, size, &err), &err);
    return o;
}

static void every_recipe_gives_the_bytes_of_the_cpu(void **state)
{
    (void)state;
    static const int sizes[][3] = {{32, 65, 6}, {1, 39, 1}, {7, 39, 2}, {33, 26, 2}, {70, 13, 1}}; /* size, n, rounds */
    struct bench b;
    open_device(&b);
    draw_pictures(&b);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        open_program(&b, sizes[s][0], sizes[s][1]);
        for (size_t r = 0; r < sizeof recipes / sizeof recipes[0]; r++) {
            moco_augment_options o = recipe(recipes[r], b.size);
            if (o.crop != AUGMENT_CROP_NONE || b.size == 32)
                compare(&b, recipes[r], &o, sizes[s][2]);
        }
        close_program(&b);
    }
    close_device(&b);
    assert_true(compared > 4000);
}

/* What no recipe draws: blurs wider than the view, jitter beyond 1, crops of whole pictures, every order of steps. */
static void strong_recipes_do_too(void **state)
{
    (void)state;
    struct bench b;
    open_device(&b);
    draw_pictures(&b);
    static const int sizes[] = {3, 20, 32};
    for (int s = 0; s < 3; s++) {
        open_program(&b, sizes[s], 52);
        for (int first = 0; first < 2; first++) {
            moco_augment_options o = recipe(first ? "simclr" : "moco-v2", b.size);
            o.jitter_p = o.blur_p = 1;
            o.grey_p = 0.5;
            o.grey_first = first;
            o.brightness = o.contrast = o.saturation = 3;
            o.hue = 0.5;
            o.blur_sigma[1] = 40;
            o.scale[0] = 0.001;
            compare(&b, "a strong recipe", &o, 3);
        }
        close_program(&b);
    }
    close_device(&b);
}

/* 224, and one whose lines are so long that a block has one row of it, or three columns. */
static void large_views_do_too(void **state)
{
    (void)state;
    struct bench b;
    open_device(&b);
    draw_pictures(&b);
    open_program(&b, 224, 6);
    moco_augment_options o = recipe("moco-v2", 224);
    o.blur_p = 1;
    compare(&b, "moco-v2", &o, 1);
    close_program(&b);
    open_program(&b, 1370, 1);
    o = recipe("moco-v2", 1370);
    o.blur_p = 1;
    compare(&b, "moco-v2", &o, 1);
    close_program(&b);
    close_device(&b);
}

static void any_order_of_threads_gives_the_same_bytes(void **state)
{
    (void)state;
    struct bench b;
    open_device(&b);
    draw_pictures(&b);
    open_program(&b, 32, 13);
    moco_augment_options o = recipe("moco-v2", 32);
    for (uint64_t seed = 1; seed <= 4; seed++) {
        simt_seed(seed);
        compare(&b, "moco-v2", &o, 2);
    }
    close_program(&b);
    close_device(&b);
}

/* A number that is another one is seen, each of them: or the comparisons above say nothing. */
static void each_number_of_a_view_matters(void **state)
{
    (void)state;
    struct bench b;
    open_device(&b);
    draw_pictures(&b);
    open_program(&b, 32, 1);
    struct pixel_view *v = &b.views[0];
    const struct pixel_view whole = {
        .picture = 6,
        .x = 5,
        .y = 4,
        .w = 60,
        .h = 50,
        .rw = 40,
        .rh = 40,
        .ox = 3,
        .oy = 2,
        .step_count = 4,
        .step = {{PIXEL_MEAN, 0, 1.2f}, {PIXEL_LUMA, 0, 0.6f}, {PIXEL_BLEND, 0, 0.9f}, {PIXEL_HUE, 20, 0}},
        .radius = 1,
        .inside = 5000000,
        .edges = 888608};
    *v = whole;
    make(&b, 0);
    memcpy(b.wanted, b.made, 32 * 32 * 3);
    assert_int_equal(first_difference(&b), -1);
    const struct {
        int32_t *number;
        int32_t by;
    } changes[] = {{&v->picture, 6},
                   {&v->x, 1},
                   {&v->y, 1},
                   {&v->w, -1},
                   {&v->h, -1},
                   {&v->rw, 1},
                   {&v->rh, 1},
                   {&v->ox, 1},
                   {&v->oy, 1},
                   {&v->cubic, 1},
                   {&v->flip, 1},
                   {&v->step_count, -1},
                   {&v->radius, 1},
                   {&v->step[3].constant, 1},
                   {&v->step[0].kind, 1},
                   {&v->radius, -2},
                   {(int32_t *)&v->inside, -100000},
                   {(int32_t *)&v->edges, 200000}};
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        *v = whole;
        *changes[i].number += changes[i].by;
        make(&b, 0);
        if (first_difference(&b) != 0)
            fail_msg("change %zu of a view's numbers was not seen", i);
    }
    for (int s = 0; s < 3; s++) {
        *v = whole;
        v->step[s].factor += 0.1f;
        make(&b, 0);
        assert_int_equal(first_difference(&b), 0);
        *v = whole;
        v->step[s] = whole.step[s + 1];
        v->step[s + 1] = whole.step[s];
        make(&b, 0);
        assert_int_equal(first_difference(&b), 0);
    }
    close_program(&b);
    close_device(&b);
}

/* ---- refusals and failures ---- */

static void refused(struct bench *b, const struct be_input *input, moco_status status, const char *words)
{
    struct err err = {0};
    struct be_input at;
    assert_int_equal(begin(b, input, &at, &err), status);
    if (strstr(err.text, words) == NULL)
        fail_msg("\"%s\" is not in: %s", words, err.text);
}

static void what_cannot_be_made_is_refused(void **state)
{
    (void)state;
    struct bench b;
    struct err err = {0};
    open_device(&b);
    draw_pictures(&b);
    open_program(&b, 2, 1);
    const struct pixel_view good = {.picture = 5, .w = 33, .h = 47, .rw = 2, .rh = 2, .radius = -1};
    struct pixel_view *v = b.views;
    struct be_input input = {.made = {v}, .pictures = b.pictures}, at;
    *v = good;
    ok(begin(&b, &input, &at, &err), &err);
    b.be->program_drop(b.program);
#define REFUSED(change, status, words)                                                                                 \
    do {                                                                                                               \
        *v = good;                                                                                                     \
        change;                                                                                                        \
        refused(&b, &input, status, words);                                                                            \
    } while (0)
    REFUSED(v->picture = PICTURES, MOCO_EINVAL, "is of picture 13, and there are 13");
    REFUSED(v->picture = -1, MOCO_EINVAL, "is of picture -1");
    REFUSED(v->x = 1, MOCO_EINVAL, "crop is not inside");
    REFUSED(v->y = -1, MOCO_EINVAL, "crop is not inside");
    REFUSED(v->h = 0, MOCO_EINVAL, "crop is not inside");
    REFUSED(v->ox = 1, MOCO_EINVAL, "not inside the resized crop");
    REFUSED(v->rh = 1, MOCO_EINVAL, "not inside the resized crop");
    REFUSED(v->step_count = PIXEL_STEPS + 1, MOCO_EINVAL, "too many steps");
    REFUSED(v->radius = PIXEL_SIDE_MAX + 1, MOCO_EINVAL, "too wide a blur");
    REFUSED((v->step_count = 1, v->step[0].kind = 5), MOCO_EINVAL, "steps is none");
    REFUSED((v->step_count = 1, v->step[0].factor = NAN), MOCO_EINVAL, "steps is none");
    REFUSED((v->step_count = 1, v->step[0].constant = 256), MOCO_EINVAL, "steps is none");
    REFUSED((v->picture = 12, v->w = 130, v->h = 310, v->cubic = 1), MOCO_ENOTSUP, "by more than 256 taps");
    *v = good;
    input.view[0] = b.wanted;
    refused(&b, &input, MOCO_EINVAL, "there are bytes of it");
    input.view[0] = NULL;
    input.pictures = NULL;
    refused(&b, &input, MOCO_EINVAL, "no pictures on " DEVICE);
    struct bench other;
    open_device(&other);
    draw_pictures(&other);
    input.pictures = other.pictures;
    refused(&b, &input, MOCO_EINVAL, "no pictures on " DEVICE);
    close_one(&other);
    b.be->program_free(b.program);
    b.program = NULL;
    struct be_program_spec spec = {.layout = b.layout, .view_bytes = 12, .views = 1, .view_size = PIXEL_SIDE_MAX + 1};
    assert_int_equal(b.be->program_create(&b.program, b.dev, &spec, &err), MOCO_EINVAL);
    spec.view_size = 0;
    ok(b.be->program_create(&b.program, b.dev, &spec, &err), &err);
    input.pictures = b.pictures;
    refused(&b, &input, MOCO_EINVAL, "no view_size");
    struct be_pictures *none;
    const int32_t empty[1][2] = {{3, 0}};
    assert_int_equal(b.be->pictures_create(&none, b.dev, 1, empty, &err), MOCO_EINVAL);
    assert_null(none);
    assert_int_equal(b.be->pictures_create(&none, b.dev, 0, empty, &err), MOCO_EINVAL);
    assert_int_equal(b.be->pictures_put(b.pictures, PICTURES, b.wanted, &err), MOCO_EINVAL);
    close_program(&b);
    close_device(&b);
}

/* A picture that is put while a step is queued is there for the next one; and what was taken is what was foretold. */
static void pictures_may_change_between_steps(void **state)
{
    (void)state;
    struct bench b;
    struct err err = {0};
    int64_t before, after, available, pixels = 0;
    open_device(&b);
    ok(b.be->memory(b.dev, &before, &available, &err), &err);
    draw_pictures(&b);
    ok(b.be->memory(b.dev, &after, &available, &err), &err);
    for (int i = 0; i < PICTURES; i++)
        pixels += (int64_t)sides[i][0] * sides[i][1];
    assert_int_equal(after - before, b.be->pictures_bytes(PICTURES, pixels));
    open_program(&b, 32, 1);
    moco_augment_options o = recipe("none", 32);
    for (int round = 0; round < 3; round++) {
        draw_pixels(b.rgb[0], 32, 32, 40 + round);
        ok(b.be->pictures_put(b.pictures, 0, b.rgb[0], &err), &err);
        compare(&b, "none", &o, 1);
    }
    close_program(&b);
    close_device(&b);
}

static void failures_are_told(void **state)
{
    (void)state;
    struct be_pictures *pictures;
    int failures = 0, due = 0;
    for (; !due; failures++) {
        struct bench b;
        struct err err = {0};
        open_device(&b);
        sim_plant(SIM_NO_MEMORY, failures);
        moco_status status = b.be->pictures_create(&pictures, b.dev, PICTURES, sides, &err);
        due = sim_planted_is_due();
        sim_plant(SIM_SOUND, 0);
        assert_int_equal(status, due ? MOCO_OK : MOCO_ENOMEM);
        b.be->pictures_free(pictures);
        close_device(&b);
    }
    assert_int_equal(failures, 2);
    for (int kernel = 0; kernel < 4; kernel++) {
        struct bench b;
        struct err err = {0};
        struct be_input at;
        open_device(&b);
        draw_pictures(&b);
        open_program(&b, 32, 1);
        moco_augment_options o = recipe("none", 32);
        draw_one(&b, &o, 0, 0);
        const struct be_input input = {.made = {b.views}, .pictures = b.pictures};
        sim_plant(SIM_LAUNCH_REFUSED, kernel);
        assert_int_equal(begin(&b, &input, &at, &err), MOCO_EDEVICE);
        assert_non_null(strstr(err.text, "the device is lost"));
        assert_false(sim_planted_is_due());
        sim_plant(SIM_SOUND, 0);
        close_program(&b);
        close_device(&b);
    }
}

/* ---- a data set's pictures ---- */

static const struct dataset_ops *true_ops;
static int reads;

static moco_status counted_read(const struct dataset *ds, int64_t id, struct decoder *decoder, struct image *image,
                                struct err *err)
{
    reads++;
    return true_ops->read(ds, id, decoder, image, err);
}

/* Each picture is read once where the set says how large they are, and else once more, for its size. */
static void a_set_that_knows_its_sizes_is_read_once(void **state)
{
    (void)state;
    enum { COUNT = 3, SIDE = 6 };
    static uint8_t pixels[COUNT][SIDE][SIDE][3];
    struct bench b;
    struct dataset *set;
    struct resident *r;
    struct err err = {0};
    open_device(&b);
    ok(dataset_from_memory(&set, b.ctx, &pixels[0][0][0][0], COUNT, SIDE, SIDE, NULL, &err), &err);
    struct dataset_ops counting = *set->ops;
    true_ops = set->ops;
    counting.read = counted_read;
    set->ops = &counting;
    assert_int_equal(set->w, SIDE);
    for (int known = 0; known < 2; known++) {
        set->w = set->h = known ? SIDE : 0;
        reads = 0;
        ok(resident_create(&r, b.ctx, b.be, b.dev, set, 0, &err), &err);
        assert_int_equal(reads, known ? COUNT : 2 * COUNT);
        assert_int_equal(r->side[COUNT - 1][0], SIDE);
        assert_int_equal(r->bytes, b.be->pictures_bytes(COUNT, (int64_t)COUNT * SIDE * SIDE));
        resident_free(r);
    }
    set->w = SIDE + 1; /* a set that lies */
    assert_int_equal(resident_create(&r, b.ctx, b.be, b.dev, set, 0, &err), MOCO_EFORMAT);
    assert_non_null(strstr(err.text, "it is 6 x 6 pixels and not 7 x 6, as it was said to be"));
    assert_null(r);
    set->ops = true_ops;
    dataset_free(set);
    close_device(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recipe_gives_the_bytes_of_the_cpu),
        cmocka_unit_test(strong_recipes_do_too),
        cmocka_unit_test(large_views_do_too),
        cmocka_unit_test(any_order_of_threads_gives_the_same_bytes),
        cmocka_unit_test(each_number_of_a_view_matters),
        cmocka_unit_test(what_cannot_be_made_is_refused),
        cmocka_unit_test(pictures_may_change_between_steps),
        cmocka_unit_test(failures_are_told),
        cmocka_unit_test(a_set_that_knows_its_sizes_is_read_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
