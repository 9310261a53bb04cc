/* SPDX-License-Identifier: MIT
 *
 * test_half: IEEE half precision (lib/half.h): every half comes back, and every float between two halves goes to the nearer
 * one, the middle to the even one; what is beyond the largest is infinite. bf16 is tested beside the kernels that write it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "half.h"

static void every_half_comes_back(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 0x10000; half++) {
        float value = f16_to_float((uint16_t)half);
        if ((half & 0x7fff) > 0x7c00)
            assert_true(isnan(value) && isnan(f16_to_float(f16_from_float(value))));
        else
            assert_int_equal(f16_from_float(value), half);
    }
}

static void floats_go_to_the_nearest(void **state)
{
    (void)state;
    for (uint16_t half = 0; half < 0x7bff; half++) {
        float low = f16_to_float(half), high = f16_to_float((uint16_t)(half + 1)), middle = low + (high - low) / 2;
        assert_int_equal(f16_from_float(nextafterf(middle, 0)), half);
        assert_int_equal(f16_from_float(nextafterf(middle, INFINITY)), half + 1);
        assert_int_equal(f16_from_float(middle), half % 2 == 0 ? half : half + 1);
        assert_int_equal(f16_from_float(-middle), 0x8000 | (half % 2 == 0 ? half : half + 1));
    }
}

static void the_ends(void **state)
{
    (void)state;
    assert_int_equal(f16_from_float(65504), 0x7bff);
    assert_int_equal(f16_from_float(nextafterf(65520, 0)), 0x7bff);
    assert_int_equal(f16_from_float(65520), 0x7c00);
    assert_int_equal(f16_from_float(-INFINITY), 0xfc00);
    assert_int_equal(f16_from_float(0x1p-25f), 0);
    assert_int_equal(f16_from_float(nextafterf(0x1p-25f, 1)), 1);
    assert_int_equal(f16_from_float(0x1p-149f), 0);
    assert_int_equal(f16_from_float(-0.0f), 0x8000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_half_comes_back),
                                       cmocka_unit_test(floats_go_to_the_nearest), cmocka_unit_test(the_ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
