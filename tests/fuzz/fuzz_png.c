/* SPDX-License-Identifier: MIT
 *
 * fuzz_png: any bytes as a PNG: see picture_target.h. What a reader would get wrong: with FIX_SUMS the checksums of the
 * chunks are put right first, or libpng would refuse almost every changed input before anything of ours sees it. */
#define _GNU_SOURCE /* memfd_create */
#include "fuzz/support/picture_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static uint32_t crc32_of(const uint8_t *bytes, size_t size)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
    }
    return ~crc;
}

/* After eight bytes of signature: length, type, content, sum. */
static void set_sums(uint8_t *png, size_t size)
{
    for (size_t at = 8; at + 12 <= size;) {
        size_t length = (size_t)png[at] << 24 | (size_t)png[at + 1] << 16 | (size_t)png[at + 2] << 8 | png[at + 3];
        if (length > size - at - 12)
            return;
        uint32_t crc = crc32_of(png + at + 4, length + 4);
        for (int i = 0; i < 4; i++)
            png[at + 8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        at += length + 12;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct control control;
    if (size < CONTROL)
        return 0;
    size -= CONTROL;
    memcpy(&control, bytes + size, CONTROL);
    uint8_t *copy = malloc(size + 1); /* its end is the input's, for the sanitizers */
    must(copy != NULL);
    memcpy(copy, bytes, size);
    if (control.ask & FIX_SUMS)
        set_sums(copy, size);
    check_picture(decode_png, copy, size, control);
    free(copy);
    return 0;
}
