/* SPDX-License-Identifier: MIT
 *
 * test_random: the generator gives the published vectors, a stream's address reaches all its bits, conversions are
 * uniform where a naive one is not, orders are permutations, and every permutation of a small set is equally likely.
 * Streams are fixed: a test of a distribution passes for ever or never. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "moco/moco.h"
#include "permute.h"
#include "philox.h"

/* Random123's known answers for philox4x32, 10 rounds: counter, key, answer. */
static void test_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], answer[4];
    } kat[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof kat / sizeof *kat; i++) {
        uint32_t out[4];
        philox4x32(kat[i].counter, kat[i].key, out);
        assert_memory_equal(out, kat[i].answer, sizeof out);
    }
}

/* Where each part of an address stands in counter and key; blocks follow each other. */
static void test_packing(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, UINT64_C(0x1122334455667788), UINT64_C(0xa99aabbccdd), UINT64_C(0xbeef12345678), 0x5a, RNG_AUGMENT);
    const uint32_t key[2] = {0x55667788, 0x11223344};
    for (uint32_t block = 0; block < 3; block++) {
        const uint32_t counter[4] = {block, 0x12345678, 0x065abeef, 0xaabbccdd};
        uint32_t out[4];
        philox4x32(counter, key, out);
        for (int i = 0; i < 4; i++)
            assert_int_equal(rng_u32(&r), out[i]);
    }
}

static uint64_t first(uint64_t seed, uint64_t epoch, uint64_t sample, unsigned view, int purpose)
{
    struct rng r;
    rng_init(&r, seed, epoch, sample, view, (enum rng_purpose)purpose);
    return rng_u64(&r);
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void test_every_bit_of_an_address_counts(void **state)
{
    (void)state;
    uint64_t seen[64 + 32 + 48 + 8 + 8 + 1];
    int count = 0;
    seen[count++] = first(0, 0, 0, 0, 0);
    for (int bit = 0; bit < 64; bit++)
        seen[count++] = first(UINT64_C(1) << bit, 0, 0, 0, 0);
    for (int bit = 0; bit < 32; bit++)
        seen[count++] = first(0, UINT64_C(1) << bit, 0, 0, 0);
    for (int bit = 0; bit < 48; bit++)
        seen[count++] = first(0, 0, UINT64_C(1) << bit, 0, 0);
    for (int bit = 0; bit < 8; bit++) {
        seen[count++] = first(0, 0, 0, 1u << bit, 0);
        seen[count++] = first(0, 0, 0, 0, 1 << bit);
    }
    assert_int_equal(count, sizeof seen / sizeof *seen);
    qsort(seen, (size_t)count, sizeof *seen, ascending);
    for (int i = 1; i < count; i++)
        assert_true(seen[i] != seen[i - 1]);
}

/* ---- conversions ---- */

static void test_conversions(void **state)
{
    (void)state;
    struct rng words, r;
    for (uint64_t sample = 0; sample < 100; sample++) {
        rng_init(&words, 5, 0, sample, 0, RNG_TEST);
        uint64_t high = rng_u32(&words), low = rng_u32(&words);
        rng_init(&r, 5, 0, sample, 0, RNG_TEST);
        assert_true(rng_u64(&r) == (high << 32 | low));
        rng_init(&r, 5, 0, sample, 0, RNG_TEST);
        double u = rng_uniform(&r);
        assert_true(u == ldexp((double)((high << 32 | low) >> 11), -53));
        double v = rng_uniform(&r);
        rng_init(&r, 5, 0, sample, 0, RNG_TEST);
        double x = rng_normal(&r), y = rng_normal(&r);
        assert_true(fabs(x * x + y * y + 2 * log(1 - u)) < 1e-12); /* Box-Muller: the radius is u's, the angle v's */
        double turn = atan2(y, x) / 6.283185307179586;
        assert_true(fabs(turn - v) < 1e-12 || fabs(turn + 1 - v) < 1e-12);
    }
}

static void test_below_is_uniform(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 6, 0, 0, 0, RNG_TEST);
    for (uint64_t n = 1; n <= 12; n++) {
        int seen[12] = {0}, draws = 20000;
        for (int i = 0; i < draws; i++) {
            uint64_t x = rng_below(&r, n);
            assert_true(x < n);
            seen[x]++;
        }
        double expected = (double)draws / (double)n, chi = 0;
        for (uint64_t x = 0; x < n; x++)
            chi += (seen[x] - expected) * (seen[x] - expected) / expected;
        assert_true(chi < (double)(n - 1) + 5 * sqrt(2.0 * (double)n) + 5);
    }
    /* n = 3 * 2^62: without rejection, a third of the numbers would come twice as often as the others. */
    const uint64_t n = UINT64_C(3) << 62;
    int residue[3] = {0};
    for (int i = 0; i < 30000; i++)
        residue[rng_below(&r, n) % 3]++;
    for (int i = 0; i < 3; i++)
        assert_true(abs(residue[i] - 10000) < 5 * 82);
}

static void test_moments(void **state)
{
    (void)state;
    enum { N = 200000 };
    struct rng r;
    rng_init(&r, 7, 0, 0, 0, RNG_TEST);
    double sum[5] = {0}, pair = 0, last = 0, mean = 0, square = 0;
    for (int i = 0; i < N; i++) {
        double x = rng_normal(&r), power = 1;
        for (int k = 1; k <= 4; k++)
            sum[k] += power *= x;
        pair += x * last;
        last = x;
    }
    assert_true(fabs(sum[1] / N) < 5 * sqrt(1.0 / N));
    assert_true(fabs(sum[2] / N - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(sum[3] / N) < 5 * sqrt(15.0 / N));
    assert_true(fabs(sum[4] / N - 3) < 5 * sqrt(96.0 / N));
    assert_true(fabs(pair / N) < 5 * sqrt(1.0 / N)); /* cosine and sine of a pair are independent */
    for (int i = 0; i < N; i++) {
        double u = rng_uniform(&r);
        assert_true(u >= 0 && u < 1);
        mean += u / N;
        square += u * u / N;
    }
    assert_true(fabs(mean - 0.5) < 5 * sqrt(1.0 / 12 / N));
    assert_true(fabs(square - 1.0 / 3) < 5 * sqrt(4.0 / 45 / N));
}

/* ---- orders ---- */

static void assert_bijection(uint64_t seed, uint64_t epoch, uint64_t n)
{
    struct permute p;
    unsigned char *seen = calloc(n, 1);
    assert_non_null(seen);
    permute_init(&p, seed, epoch, n);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t x = permute_at(&p, i);
        assert_true(x < n && !seen[x]);
        seen[x] = 1;
    }
    free(seen);
}

static void test_bijections(void **state)
{
    (void)state;
    for (uint64_t n = 1; n <= 300; n++)
        assert_bijection(n, n * n, n);
    static const uint64_t larger[] = {1000, 1023, 1024, 1025, 4097, 50000};
    for (size_t i = 0; i < sizeof larger / sizeof *larger; i++)
        assert_bijection(1, i, larger[i]);
}

/* Too large to see whole: 3000 positions go to 3000 places. At ImageNet's size a function that is not injective would
 * collide three times or so among them, at 2^48 it is the range and the halves of 64 bits that could go wrong. */
static void test_large_orders(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {1281167, UINT64_C(4294967311), UINT64_C(1) << 48};
    enum { N = 3000 };
    for (size_t s = 0; s < 3; s++) {
        struct permute p;
        uint64_t seen[N];
        double mean = 0;
        permute_init(&p, 9, 3, sizes[s]);
        for (uint64_t i = 0; i < N; i++) {
            seen[i] = permute_at(&p, sizes[s] - N + i);
            assert_true(seen[i] < sizes[s]);
            mean += (double)seen[i] / (double)sizes[s] / N;
        }
        assert_true(fabs(mean - 0.5) < 5 * sqrt(1.0 / 12 / N));
        qsort(seen, N, sizeof *seen, ascending);
        for (int i = 1; i < N; i++)
            assert_true(seen[i] != seen[i - 1]);
    }
}

/* Number of a permutation of n <= 7, 0 to n! - 1 (Lehmer's code). */
static int rank_of(const int *place, int n)
{
    int rank = 0;
    for (int i = 0; i < n; i++) {
        int smaller = 0;
        for (int j = i + 1; j < n; j++)
            smaller += place[j] < place[i];
        rank = rank * (n - i) + smaller;
    }
    return rank;
}

static void draw_epoch(uint64_t epoch, int n, int *place)
{
    struct permute p;
    permute_init(&p, 11, epoch, (uint64_t)n);
    for (int i = 0; i < n; i++)
        place[i] = (int)permute_at(&p, (uint64_t)i);
}

static void draw_batch(uint64_t step, int n, int *place)
{
    int32_t drawn[7];
    permute_batch(11, step, 0, n, drawn);
    for (int i = 0; i < n; i++)
        place[i] = drawn[i];
}

static void assert_uniform_orders(const char *what, void (*draw)(uint64_t number, int n, int *place))
{
    int factorial = 1;
    for (int n = 1; n <= 7; n++) {
        static int seen[5040];
        int place[7], draws;
        factorial *= n;
        draws = 10 * factorial < 2000 ? 2000 : 10 * factorial;
        memset(seen, 0, sizeof seen);
        for (int i = 0; i < draws; i++) {
            draw((uint64_t)i, n, place);
            seen[rank_of(place, n)]++;
        }
        double expected = (double)draws / factorial, chi = 0;
        for (int i = 0; i < factorial; i++)
            chi += (seen[i] - expected) * (seen[i] - expected) / expected;
        double deviations = n > 1 ? (chi - (factorial - 1)) / sqrt(2.0 * (factorial - 1)) : chi;
        if (deviations > 5 || (factorial > 100 && deviations < -5)) /* too even is not random either */
            fail_msg("%s of %d: %g deviations from all being equally likely", what, n, deviations);
    }
}

static void test_orders_are_uniform(void **state)
{
    (void)state;
    assert_uniform_orders("epochs", draw_epoch);
    assert_uniform_orders("batches", draw_batch);
}

static void test_batch_orders(void **state)
{
    (void)state;
    for (int n = 1; n <= 400; n += n < 20 ? 1 : 19) {
        int32_t place[400], seen[400] = {0};
        permute_batch(1, 2, 1, n, place);
        for (int i = 0; i < n; i++) {
            assert_true(place[i] >= 0 && place[i] < n && !seen[place[i]]);
            seen[place[i]] = 1;
        }
    }
}

static void test_public_calls(void **state)
{
    (void)state;
    int32_t place[64], same[64];
    int64_t sample = -1;
    struct permute p;
    assert_int_equal(moco_shuffle_permutation(3, 7, 1, 64, place), MOCO_OK);
    permute_batch(3, 7, 1, 64, same);
    assert_memory_equal(place, same, sizeof place);
    permute_init(&p, 3, 7, 1000);
    for (int64_t i = 0; i < 1000; i += 37) {
        assert_int_equal(moco_epoch_permutation(3, 7, 1000, i, &sample), MOCO_OK);
        assert_int_equal(sample, permute_at(&p, (uint64_t)i));
    }
    assert_int_equal(moco_shuffle_permutation(0, -1, 0, 4, place), MOCO_EINVAL);
    assert_non_null(strstr(moco_error(), "step is -1"));
    assert_int_equal(moco_shuffle_permutation(0, 0, 2, 4, place), MOCO_EINVAL);
    assert_int_equal(moco_shuffle_permutation(0, 0, 0, 0, place), MOCO_EINVAL);
    assert_int_equal(moco_shuffle_permutation(0, 0, 0, 4, NULL), MOCO_EINVAL);
    assert_int_equal(moco_epoch_permutation(0, -1, 4, 0, &sample), MOCO_EINVAL);
    assert_int_equal(moco_epoch_permutation(0, 0, 0, 0, &sample), MOCO_EINVAL);
    assert_int_equal(moco_epoch_permutation(0, 0, (INT64_C(1) << 48) + 1, 0, &sample), MOCO_EINVAL);
    assert_int_equal(moco_epoch_permutation(0, 0, 4, 4, &sample), MOCO_EINVAL);
    assert_non_null(strstr(moco_error(), "position is 4"));
    assert_int_equal(moco_epoch_permutation(0, 0, 4, -1, &sample), MOCO_EINVAL);
    assert_int_equal(moco_epoch_permutation(0, 0, 4, 0, NULL), MOCO_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_packing),
        cmocka_unit_test(test_every_bit_of_an_address_counts),
        cmocka_unit_test(test_conversions),
        cmocka_unit_test(test_below_is_uniform),
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_bijections),
        cmocka_unit_test(test_large_orders),
        cmocka_unit_test(test_orders_are_uniform),
        cmocka_unit_test(test_batch_orders),
        cmocka_unit_test(test_public_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
