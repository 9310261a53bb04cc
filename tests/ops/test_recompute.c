/* SPDX-License-Identifier: MIT
 *
 * test_recompute: a plan for training that computes outputs of batch norm again rather than keep them: less memory, and
 * every number the same, bit by bit. What a reader would get wrong: memory that a plan takes too early shows only as
 * wrong numbers, so that the networks have chains of residual sums of every length and several launches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "support/rigs/net_harness.h"

struct recompute_case {
    int depth;
    double width;
    enum net_stem stem;
    enum net_head head;
    int image, n, groups, launches;
    double saves; /* of kept activations on cpu, at least */
};

static const struct recompute_case cases[] = {
    {50, 0.25, STEM_IMAGENET, HEAD_MLP, 64, 4, 2, 2, 0.3},    /* measured 0.33 and 0.32 */
    {34, 0.25, STEM_CIFAR, HEAD_LINEAR, 16, 4, 1, 1, 0.3},    /* chains of 3 to 6 sums */
    {18, 0.1, STEM_SMALL, HEAD_MLP, 32, 6, 3, 1, 0.2},        /* channels that are no multiple of a block */
    {18, 0.25, STEM_CIFAR, HEAD_SIMCLR_V2, 16, 8, 2, 1, 0.2}, /* BN of vectors, read by linear layers: kept */
};
#define CASES (sizeof cases / sizeof cases[0])

static struct harness trained(const struct harness_subject *on, const struct recompute_case *c, int recompute,
                              struct be_plan_bytes *bytes)
{
    struct harness h;
    struct harness_spec spec = {.device = on->device,
                                .precision = (int)on->precision,
                                .threads = 2,
                                .n = c->n,
                                .groups = c->groups,
                                .launches = c->launches,
                                .queue = 16,
                                .seed = 7,
                                .recompute = recompute,
                                .config = harness_net(c->depth, c->width, c->stem, c->head, 16, c->image)};
    harness_open(&h, &spec);
    h.be->plan_bytes(h.train, bytes);
    harness_train(&h);
    harness_sgd(&h, 0.05, 0.9, 1e-4, 1);
    harness_train(&h);
    return h;
}

static void expect_equal(struct harness *a, struct harness *b)
{
    struct err err = {0};
    size_t bytes = a->be->layout_bytes(a->layout);
    char *x = malloc(bytes), *y = malloc(bytes);
    assert_true(x != NULL && y != NULL);
    assert_true(a->loss == b->loss);
    harness_ok(a->be->read(a->dev, x, a->gradients.at, bytes, &err), &err);
    harness_ok(b->be->read(b->dev, y, b->gradients.at, bytes, &err), &err);
    assert_memory_equal(x, y, bytes);
    free(x);
    free(y);
}

static void the_same_bits_in_less_memory(void **state)
{
    (void)state;
    struct harness_subject subjects[HARNESS_SUBJECTS];
    int count = harness_subjects(subjects);
    for (int s = 0; s < count; s++)
        for (size_t i = 0; i < CASES; i++) {
            struct be_plan_bytes kept, again;
            struct harness a = trained(&subjects[s], &cases[i], 0, &kept);
            struct harness b = trained(&subjects[s], &cases[i], 1, &again);
            expect_equal(&a, &b);
            double saves = 1 - (double)again.activations / (double)kept.activations;
            print_message("%s, precision %d, ResNet-%d: activations kept %.0f %% less, slab %.0f %% less\n",
                          subjects[s].device, (int)subjects[s].precision, cases[i].depth, 100 * saves,
                          100 * (1 - (double)again.slab / (double)kept.slab));
            if (strcmp(subjects[s].device, "cpu") == 0) {
                assert_true(saves > cases[i].saves);
                assert_true(again.slab < kept.slab);
            }
            harness_close(&a);
            harness_close(&b);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_same_bits_in_less_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
