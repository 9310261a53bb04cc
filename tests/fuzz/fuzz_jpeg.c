/* SPDX-License-Identifier: MIT
 *
 * fuzz_jpeg: any bytes behind a JPEG's first three: see picture_target.h. */
#define _GNU_SOURCE /* memfd_create */
#include "picture_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct control control;
    if (size < CONTROL)
        return 0;
    memcpy(&control, bytes + size - CONTROL, CONTROL);
    check_picture(decode_jpeg, bytes, size - CONTROL, control);
    return 0;
}
