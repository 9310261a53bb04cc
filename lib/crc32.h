/* SPDX-License-Identifier: MIT
 *
 * crc32: the CRC-32 of zip, PNG and zlib. If the CPU multiplies polynomials (PCLMULQDQ), it runs at the speed of
 * memory; otherwise it is zlib's own, which makes 1 GB a second. What a reader would get wrong: crc32c.h is another
 * polynomial. */
#ifndef MOCO_LIB_CRC32_H
#define MOCO_LIB_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Of the `size` bytes behind those that gave `crc` (0 at first). */
uint32_t crc32_add(uint32_t crc, const void *bytes, size_t size);

#endif
