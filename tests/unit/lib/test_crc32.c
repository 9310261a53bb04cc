/* SPDX-License-Identifier: MIT
 *
 * test_crc32: lib/codec/crc32.h against zlib's: every length up to several rounds of the folded loop, at every alignment, from
 * any register, in any pieces; and that every bit counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include <zlib.h>

#include "codec/crc32.h"

enum { MANY = 1 << 20, SHORT = 700 };
static unsigned char *bytes;

static uint32_t random_number(void)
{
    static uint64_t x = 88172645463325252u; /* xorshift */
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (uint32_t)(x >> 16);
}

static int fill(void **state)
{
    (void)state;
    bytes = malloc(MANY);
    for (size_t i = 0; bytes != NULL && i < MANY; i++)
        bytes[i] = (unsigned char)random_number();
    return bytes == NULL;
}

static int empty(void **state)
{
    (void)state;
    free(bytes);
    return 0;
}

static void known(void **state)
{
    (void)state;
    assert_int_equal(crc32_add(0, "", 0), 0);
    assert_int_equal(crc32_add(0, "123456789", 9), 0xcbf43926u);
}

static void lengths(void **state)
{
    (void)state;
    for (size_t first = 0; first < 17; first++)
        for (size_t size = 0; size < SHORT; size++) {
            uint32_t crc = size % 3 == 0 ? 0 : random_number();
            if (crc32_add(crc, bytes + first, size) != crc32_z(crc, bytes + first, size))
                fail_msg("%zu bytes from %zu on, behind %08x", size, first, crc);
        }
}

static void pieces(void **state)
{
    (void)state;
    uint32_t whole = (uint32_t)crc32_z(0, bytes, MANY), crc = 0;
    assert_int_equal(crc32_add(0, bytes, MANY), whole);
    for (size_t at = 0, size; at < MANY; at += size) {
        size = random_number() % 5000;
        size = MANY - at < size ? MANY - at : size;
        crc = crc32_add(crc, bytes + at, size);
    }
    assert_int_equal(crc, whole);
}

static void every_bit(void **state)
{
    (void)state;
    uint32_t crc = crc32_add(0, bytes, SHORT);
    for (size_t bit = 0; bit < 8 * SHORT; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_true(crc32_add(0, bytes, SHORT) != crc);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known), cmocka_unit_test(lengths), cmocka_unit_test(pieces),
                                       cmocka_unit_test(every_bit)};
    return cmocka_run_group_tests(tests, fill, empty);
}
