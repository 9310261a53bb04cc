/* SPDX-License-Identifier: MIT
 *
 * test_hash: XXH3-128 against values that the xxhsum program prints, in any pieces, and that every bit counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "hash.h"

static uint8_t bytes[5000];

static int fill(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * i + 3 * i);
    return 0;
}

static void digits(size_t size, size_t piece, char text[HASH_DIGITS + 1])
{
    struct hash h;
    hash_start(&h);
    for (size_t at = 0; at < size; at += piece)
        hash_add(&h, bytes + at, size - at < piece ? size - at : piece);
    hash_text(&h, text);
}

/* `head -c SIZE FILE | xxh128sum` of the bytes above; the length classes of the algorithm end at 16, 128 and 240. */
static void known_values(void **state)
{
    (void)state;
    static const struct {
        size_t size;
        const char *text;
    } known[] = {
        {0, "99aa06d3014798d86001c324468d497f"},    {1, "a6cd5e9392000f6ac44bdff4074eecdb"},
        {3, "1596d6e206cb795b7eb4ee0fd0d60386"},    {4, "0dc857731b4f4751555abf9a4cd757e7"},
        {8, "93fe0efab1ef5197c4d98a6c8bfc91ea"},    {9, "26e1047fc3654958fbd798b55c95441a"},
        {16, "5a1e36b4330f2a5dd8779e4ae2fb8c9c"},   {17, "95a964af7a0050ef120e26dfe9b0053b"},
        {128, "b7ea8b9ff02b0539735926bb9c527a61"},  {129, "4c9b64a2cd8f1f9b80a5046ee786fd82"},
        {240, "f6c6b7f0f1d12f9004abaeb089003376"},  {241, "aff6e2606b457c8f44a882540bceba20"},
        {256, "e63d41a3cc1fa5631eadacb7750fdc09"},  {1024, "ef13ce9ba45f8fe1811d310d2b4ebccc"},
        {1025, "d36c7121431bba29937d9188e2c440c0"}, {5000, "3d8b67d61d6653724548687a46e862d4"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        char text[HASH_DIGITS + 1];
        digits(known[i].size, sizeof bytes, text);
        assert_string_equal(text, known[i].text);
    }
}

static void any_pieces(void **state)
{
    (void)state;
    char whole[HASH_DIGITS + 1], pieces[HASH_DIGITS + 1];
    for (size_t size = 1; size <= sizeof bytes; size += 333)
        for (size_t piece = 1; piece <= size; piece = piece * 3 + 1) {
            digits(size, size, whole);
            digits(size, piece, pieces);
            assert_string_equal(whole, pieces);
        }
}

static void goes_on_after_text(void **state)
{
    (void)state;
    struct hash h;
    char text[HASH_DIGITS + 1], whole[HASH_DIGITS + 1];
    hash_start(&h);
    hash_add(&h, bytes, 700);
    hash_text(&h, text);
    hash_add(&h, NULL, 0);
    hash_add(&h, bytes + 700, 300);
    hash_text(&h, text);
    digits(1000, 1000, whole);
    assert_string_equal(text, whole);
    hash_start(&h); /* forgets */
    hash_add(&h, bytes, 1000);
    hash_text(&h, text);
    assert_string_equal(text, whole);
}

static void every_bit_counts(void **state)
{
    (void)state;
    char whole[HASH_DIGITS + 1], text[HASH_DIGITS + 1];
    digits(300, 300, whole);
    for (size_t bit = 0; bit < 8 * 300; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        digits(300, 300, text);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_string_not_equal(text, whole);
    }
    digits(299, 300, text);
    assert_string_not_equal(text, whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values),
        cmocka_unit_test(any_pieces),
        cmocka_unit_test(goes_on_after_text),
        cmocka_unit_test(every_bit_counts),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
