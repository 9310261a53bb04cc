/* SPDX-License-Identifier: MIT
 *
 * struct_probe: see struct_probe.h. */
#include "support/struct_probe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void expect(const struct struct_probe *p, union struct_block *given, moco_status wanted, const char *what)
{
    moco_status got = p->call(given);
    if (got != wanted)
        fail_msg("%s with %s: %s (%s)", p->name, what, moco_status_text(got), moco_error());
    if (wanted != MOCO_OK && strlen(moco_error()) < 20)
        fail_msg("%s with %s: the sentence is \"%s\"", p->name, what, moco_error());
}

void struct_probe_sizes(const struct struct_probe *probes, int count)
{
    static const uint32_t absurd[] = {0, 1, 4, 7, 12, 65544, 0xfffffff8, 0xffffffff};
    for (const struct struct_probe *p = probes; p < probes + count; p++) {
        union struct_block given;
        memset(&given, 0xab, sizeof given);
        p->init(&given, p->size);
        expect(p, &given, MOCO_OK, "its own size");
        for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++) {
            p->init(&given, p->size);
            given.struct_size = absurd[i];
            expect(p, &given, MOCO_EINVAL, "a size that no macro wrote");
        }
        memset(&given, 0xab, sizeof given);
        p->init(&given, p->size - 8);
        expect(p, &given, p->whole ? MOCO_EINVAL : MOCO_OK, "the last field missing");
        assert_int_equal(given.struct_size, p->size - 8);
        for (size_t at = p->size - 8; at < sizeof given; at++)
            if (given.bytes[at] != 0xab)
                fail_msg("%s wrote byte %zu of a struct of %zu", p->name, at, p->size - 8);
    }
}

void struct_probe_newer_callers(const struct struct_probe *probes, int count)
{
    for (const struct struct_probe *p = probes; p < probes + count; p++) {
        union struct_block given, filled;
        p->init(&filled, p->size);
        expect(p, &filled, MOCO_OK, "its own size");
        p->init(&given, p->size + 16);
        expect(p, &given, MOCO_OK, "two unknown fields of zero");
        assert_int_equal(given.struct_size, p->size + 16);
        if (p->output)
            assert_memory_equal(given.bytes + 4, filled.bytes + 4, p->size - 4);
        for (size_t at = 0; at < 16; at++) {
            assert_int_equal(given.bytes[p->size + at], 0);
            if (p->output)
                continue; /* what stands there before a call that fills is nobody's promise */
            p->init(&given, p->size + 16);
            given.bytes[p->size + at] = 1;
            expect(p, &given, MOCO_EINVAL, "an unknown byte that is not zero");
            assert_int_equal(given.bytes[p->size + at], 1);
            given.bytes[p->size + at] = 0;
        }
    }
}
