/* SPDX-License-Identifier: MIT
 *
 * Bytes that others wrote down: checksums of RFC 3720, messages of the protocol buffers' encoding guide. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "codec/crc32c.h"
#include "codec/protobuf.h"
#include "support/failing_alloc.h"

static void test_crc32c(void **state)
{
    unsigned char bytes[48];
    (void)state;
    assert_int_equal(crc32c(0, "", 0), 0);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
    memset(bytes, 0, sizeof bytes); /* RFC 3720, B.4 */
    assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aau);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(crc32c(0, bytes, 32), 0x62a8ab43u);
    for (int i = 0; i < 32; i++)
        bytes[i] = (unsigned char)i;
    assert_int_equal(crc32c(0, bytes, 32), 0x46dd794eu);
    for (int i = 0; i < 32; i++)
        bytes[i] = (unsigned char)(31 - i);
    assert_int_equal(crc32c(0, bytes, 32), 0x113fdb5cu);
    for (size_t cut = 0; cut <= 32; cut++)
        assert_int_equal(crc32c(crc32c(0, bytes, cut), bytes + cut, 32 - cut), 0x113fdb5cu);
    assert_int_equal(crc32c_masked(0), 0xa282ead8u);
    assert_int_equal(crc32c_masked(0x00008000u), 0xa282ead9u); /* bit 15 becomes bit 0 */
}

static void expect(struct protobuf *p, const void *bytes, size_t size)
{
    assert_int_equal(p->status, MOCO_OK);
    assert_int_equal(p->used, size);
    assert_memory_equal(p->bytes, bytes, size);
    protobuf_clear(p);
}

static void test_protobuf(void **state)
{
    struct ctx *ctx = NULL;
    struct err err = {0};
    struct protobuf p, inner;
    (void)state;
    assert_int_equal(ctx_create(&ctx, &(struct ctx_options){.threads = 1}, &err), MOCO_OK);
    protobuf_start(&p, ctx, &err);
    protobuf_start(&inner, ctx, &err);
    protobuf_put_uint(&p, 1, 150);
    expect(&p, "\x08\x96\x01", 3);
    protobuf_put_string(&p, 2, "testing");
    expect(&p, "\x12\x07testing", 9);
    protobuf_put_uint(&inner, 1, 150);
    protobuf_put_length(&p, 3, inner.used); /* in two pieces as in one */
    protobuf_put_raw(&p, inner.bytes, inner.used);
    expect(&p, "\x1a\x03\x08\x96\x01", 5);
    protobuf_put_int(&p, 1, -2);
    expect(&p, "\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11);
    protobuf_put_uint(&p, 1, UINT64_MAX);
    expect(&p, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11);
    protobuf_put_uint(&p, 16, 0); /* the first field number that takes two bytes */
    expect(&p, "\x80\x01\x00", 3);
    protobuf_put_uint(&p, (1u << 29) - 1, 127);
    expect(&p, "\xf8\xff\xff\xff\x0f\x7f", 6);
    protobuf_put_float(&p, 2, 1.5f);
    expect(&p, "\x15\x00\x00\xc0\x3f", 5);
    protobuf_put_double(&p, 1, -2.0);
    expect(&p, "\x09\x00\x00\x00\x00\x00\x00\x00\xc0", 9);
    protobuf_clear(&inner);
    protobuf_put_message(&p, 3, &inner); /* nothing in it is a message too */
    expect(&p, "\x1a\x00", 2);
    char long_text[301];
    memset(long_text, 'x', 300);
    long_text[300] = 0;
    protobuf_put_string(&p, 1, long_text);
    assert_int_equal(p.used, 303);
    assert_memory_equal(p.bytes, "\x0a\xac\x02x", 4);
    protobuf_free(&p);
    protobuf_free(&inner);
    protobuf_free(&inner);
    ctx_unref(ctx);
}

static void test_no_memory(void **state)
{
    struct failing_alloc memory = {.fail_at = 1, .forever = 1}; /* the context itself is request 0 */
    struct ctx_options options = {.alloc = failing_alloc, .release = failing_release, .user = &memory, .threads = 1};
    struct ctx *ctx = NULL;
    struct err err = {0};
    struct protobuf p, outer;
    (void)state;
    assert_int_equal(ctx_create(&ctx, &options, &err), MOCO_OK);
    protobuf_start(&p, ctx, &err);
    protobuf_start(&outer, ctx, &err);
    protobuf_put_uint(&p, 1, 150);
    protobuf_put_string(&p, 2, "testing");
    assert_int_equal(p.status, MOCO_ENOMEM);
    assert_int_equal(err.status, MOCO_ENOMEM);
    protobuf_put_message(&outer, 1, &p); /* what holds a message that failed has failed */
    assert_int_equal(outer.status, MOCO_ENOMEM);
    protobuf_free(&p);
    protobuf_free(&outer);
    ctx_unref(ctx);
    assert_int_equal(memory.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_crc32c), cmocka_unit_test(test_protobuf),
                                       cmocka_unit_test(test_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
