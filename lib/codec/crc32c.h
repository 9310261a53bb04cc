/* SPDX-License-Identifier: MIT
 *
 * crc32c: the checksum of iSCSI, TFRecord and many file formats (polynomial 0x1EDC6F41, reflected). What a reader would
 * get wrong: it is not the CRC-32 of zip and PNG. */
#ifndef MOCO_LIB_CRC32C_H
#define MOCO_LIB_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of bytes that follow those of which `crc` is the checksum; 0 for the first. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t size);

/* As a TFRecord stores it: turned and shifted, so that a checksum of data that holds checksums stays a good one. */
uint32_t crc32c_masked(uint32_t crc);

#endif
