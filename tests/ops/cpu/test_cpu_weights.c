/* SPDX-License-Identifier: MIT
 *
 * test_cpu_weights: what the cpu device does to all weights in one walk, at every instruction set and with 1 and 3
 * threads: the bf16 copies against oneDNN's own reorders, bit by bit, and SGD with the average before it against the
 * kernels one after another. What a reader would get wrong: a copy may be wider than the weights; what is beyond them
 * is zero, whatever stood there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/not_tested.h"
#include "support/rigs/map_case.h"
#include "support/rigs/net_harness.h"

#ifdef MOCO_HAVE_ONEDNN

#include "backend/cpu/cpu_param.h"
#include "backend/cpu/kernels/simd_table.h"

static struct harness_spec spec_for(int precision, int threads)
{
    return (struct harness_spec){.device = "cpu",
                                 .precision = precision,
                                 .threads = threads,
                                 .n = 2,
                                 .groups = 1,
                                 .queue = 8,
                                 .seed = 5,
                                 .config = harness_net(50, 0.25, STEM_IMAGENET, HEAD_MLP, 16, 32)};
}

/* Numbers of every size, 0 and -0 among them; padding stays 0. */
static void fill(struct harness *h, void *slab, uint64_t seed, double scale)
{
    for (int i = 0; i < h->layout->count; i++) {
        float *at = (float *)slab + h->layout->params[i].offset;
        for (int64_t j = 0; j < h->layout->params[i].count; j++)
            at[j] = j % 97 == 5 ? -0.0f : (float)(scale * draw_normal(seed + (uint64_t)i, (uint64_t)j));
    }
}

static void *copy(const void *from, size_t bytes)
{
    return memcpy(take(bytes), from, bytes);
}

/* One parameter's copy as oneDNN makes it. */
static uint16_t *reordered(struct harness *h, const struct cpu_param *p, int which, const float *masters)
{
    struct shim_prim prim;
    struct err err = {0};
    harness_ok(shim_reorder_create(&prim, h->dev->engine, &p->master, &p->reader[which], &err), &err);
    char *scratch = take(prim.scratch + 64);
    uint16_t *out = take(p->reader[which].bytes);
    void *at[SHIM_SLOTS] = {[SHIM_SRC] = (void *)(masters + p->offset), [SHIM_DST] = out, [SHIM_SCRATCH] = scratch};
    harness_ok(shim_run(&prim, at, &err), &err);
    shim_prim_free(&prim);
    free(scratch);
    return out;
}

static void check_copies(struct harness *h, const char *level, const char *block, const float *masters, int backward)
{
    for (int i = 0; i < h->layout->count; i++)
        for (int which = 0; which < 1 + backward; which++) {
            const struct cpu_param *p = &h->layout->params[i];
            if (p->reader[which].handle == NULL)
                continue;
            uint16_t *want = reordered(h, p, which, masters);
            if (memcmp(block + p->reader_at[which], want, p->reader[which].bytes) != 0)
                fail_msg("%s: copy %d of %s differs from oneDNN's", level, which, h->graph->params[i].name);
            free(want);
        }
}

/* Reorders would pass this test too: most copies have to be of tiles. */
static void check_tiles(const struct harness *h)
{
    int convolutions = 0, tiles = 0;
    for (int i = 0; i < h->layout->count; i++)
        for (int which = 0; which < 2; which++) {
            const struct cpu_param *p = &h->layout->params[i];
            convolutions += p->reader[which].handle != NULL;
            tiles += p->tiles[which].outputs != NULL;
            assert_true((p->tiles[which].outputs != NULL) + (p->fill[which].primitive != NULL) ==
                        (p->reader[which].handle != NULL));
        }
    print_message("%d of %d copies are written tile by tile\n", tiles, convolutions);
    assert_true(tiles > convolutions * 3 / 4);
}

static void copies(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads += 2) {
        struct harness h;
        struct harness_spec spec = spec_for(BE_BF16, threads);
        struct err err = {0};
        struct parallel_scope scope;
        harness_open(&h, &spec);
        check_tiles(&h);
        fill(&h, h.masters.at, 1, 1);
        fill(&h, h.momentum.at, 2, 1e3);
        float *average = take(h.be->layout_bytes(h.layout));
        memset(average, 0, h.be->layout_bytes(h.layout));
        struct be_memory key = harness_alloc(&h, h.be->key_bytes(h.layout));
        harness_ok(cpu_enter(h.dev, &scope, &err), &err);
        for (int level = 0; (h.dev->team.simd = kern_level(level)) != NULL; level++) {
            const char *name = h.dev->team.simd->name;
            memset(h.readers.at, 0xa5, h.readers.bytes);
            harness_ok(h.be->readers(h.layout, 1, h.masters.at, h.readers.at, &err), &err);
            check_copies(&h, name, h.readers.at, h.masters.at, 1);
            memset(key.at, 0xa5, key.bytes);
            const struct be_scalars scalars = {.key_momentum = 0.99, .loss_scale = 1};
            harness_begin(&h, &scalars);
            harness_ok(h.be->ema_readers(h.program, h.momentum.at, h.masters.at, key.at, &err), &err);
            harness_drop(&h);
            kern_ema(&h.dev->team, h.layout->floats, 0.99, h.momentum.at, h.masters.at, average);
            check_copies(&h, name, key.at, average, 0);
            for (int i = 0; i < h.layout->count; i++) {
                const struct cpu_param *p = &h.layout->params[i];
                if (p->reader[0].handle == NULL)
                    assert_memory_equal((char *)key.at + p->key, average + p->offset,
                                        (size_t)p->count * sizeof *average);
            }
        }
        h.dev->team.simd = kern_level(0);
        parallel_leave(&scope);
        h.be->release(h.dev, &key);
        free(average);
        harness_close(&h);
    }
}

/* The slabs of an update, and what they start as. */
struct slabs {
    size_t bytes;
    float *p, *v, *k;
    float *p0, *v0, *k0;
};

static void restore(const struct slabs *s)
{
    memcpy(s->p, s->p0, s->bytes);
    memcpy(s->v, s->v0, s->bytes);
    memcpy(s->k, s->k0, s->bytes);
}

/* Are all numbers finite that it has written? */
static int run_update(struct harness *h, const struct slabs *s, const struct be_scalars *scalars, void *readers,
                      int lars)
{
    struct err err = {0};
    const struct be_sgd io = {.p = s->p, .g = h->gradients.at, .v = s->v, .k = s->k, .readers = readers, .lars = lars};
    harness_begin(h, scalars);
    harness_decide(h);
    harness_ok(h->be->sgd(h->program, &io, &err), &err);
    return harness_end(h).finite;
}

/* SGD with the average before it, for one level. */
static void check_update(struct harness *h, const struct slabs *s, const char *level)
{
    size_t count = h->layout->floats;
    const struct kern_team *team = &h->dev->team;
    float *p1 = copy(s->p0, s->bytes), *v1 = copy(s->v0, s->bytes), *k1 = copy(s->k0, s->bytes);
    kern_ema(team, count, 0.99, k1, p1, k1);
    team->simd->slab->sgd(count, 0.03F, 0.9F, 1e-4F, p1, h->gradients.at, v1);
    const struct be_scalars scalars = {
        .lr = 0.03, .sgd_momentum = 0.9, .weight_decay = 1e-4, .key_momentum = 0.99, .loss_scale = 1};
    void *readers = h->precision == BE_BF16 ? h->readers.at : NULL;
    if (readers != NULL)
        memset(readers, 0xa5, h->readers.bytes);
    restore(s);
    assert_true(run_update(h, s, &scalars, readers, 0));
    assert_memory_equal(s->p, p1, s->bytes);
    assert_memory_equal(s->v, v1, s->bytes);
    assert_memory_equal(s->k, k1, s->bytes);
    if (readers != NULL)
        check_copies(h, level, readers, p1, 1);
    free(p1);
    free(v1);
    free(k1);
}

/* A bad number in each of the three slabs, first or last of a parameter. */
static void check_finite(struct harness *h, const struct slabs *s)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    float *const slabs[] = {s->p, s->v, s->k};
    const struct be_scalars scalars = {.sgd_momentum = 1, .key_momentum = 0.5, .loss_scale = 1};
    for (int i = 0; i < 18; i++) {
        const struct cpu_param *p = &h->layout->params[i * 7 % h->layout->count];
        restore(s);
        slabs[i % 3][p->offset + (i % 2 == 0 ? 0 : (size_t)p->count - 1)] = bad[i / 6];
        assert_false(run_update(h, s, &scalars, NULL, 0));
        assert_false(run_update(h, s, &scalars, NULL, 1));
    }
    restore(s);
    assert_true(run_update(h, s, &scalars, NULL, 1));
}

static void check_levels(int precision, int threads)
{
    struct harness h;
    struct harness_spec spec = spec_for(precision, threads);
    struct err err = {0};
    struct parallel_scope scope;
    harness_open(&h, &spec);
    struct slabs s = {.bytes = h.be->layout_bytes(h.layout), .p = h.masters.at, .v = h.momentum.at};
    struct be_memory k = harness_alloc(&h, s.bytes);
    s.k = k.at;
    fill(&h, s.p, 1, 1);
    fill(&h, s.v, 2, 1);
    fill(&h, s.k, 3, 1);
    fill(&h, h.gradients.at, 4, 1);
    s.p0 = copy(s.p, s.bytes);
    s.v0 = copy(s.v, s.bytes);
    s.k0 = copy(s.k, s.bytes);
    harness_ok(cpu_enter(h.dev, &scope, &err), &err);
    for (int level = 0; (h.dev->team.simd = kern_level(level)) != NULL; level++) {
        check_update(&h, &s, h.dev->team.simd->name);
        if (threads > 1)
            check_finite(&h, &s);
    }
    h.dev->team.simd = kern_level(0);
    parallel_leave(&scope);
    free(s.p0);
    free(s.v0);
    free(s.k0);
    h.be->release(h.dev, &k);
    harness_close(&h);
}

static void updates(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads += 2) {
        check_levels(BE_F32, threads);
        if (harness_has("cpu", BE_BF16))
            check_levels(BE_BF16, threads);
    }
}

int main(void)
{
    const struct CMUnitTest f32[] = {cmocka_unit_test(updates)};
    const struct CMUnitTest both[] = {cmocka_unit_test(copies), cmocka_unit_test(updates)};
    if (harness_has("cpu", BE_BF16))
        return cmocka_run_group_tests(both, NULL, NULL);
    not_tested_here(NO_BF16);
    return cmocka_run_group_tests(f32, NULL, NULL);
}

#else
int main(void)
{
    return 0;
}
#endif
