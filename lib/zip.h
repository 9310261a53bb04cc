/* SPDX-License-Identifier: MIT
 *
 * zip: the members of a zip archive that stores them uncompressed (PKWARE's APPNOTE 6.3.10), which is what
 * torch.save writes. What a reader would get wrong: a zip is read from its end, and two readers that trust different
 * parts of it see different files. Here every part must agree: local headers, descriptors and the central directory
 * say the same, and together with the contents they cover each byte of the file once. */
#ifndef MOCO_LIB_ZIP_H
#define MOCO_LIB_ZIP_H

#include <stdint.h>

#include "file.h"

struct zip_member {
    const char *name;     /* ends in 0; a folder's ends in '/' */
    int64_t header;       /* offset of its local header */
    int64_t offset, size; /* of its content in the file */
    uint32_t crc;
};

struct zip {
    const struct file *file;
    struct zip_member *members; /* [count], by name */
    int64_t count;
    char *directory; /* the central directory, in which the names lie */
};

/* Reads the directory and every local header; no content. `file` must stay open. On failure `zip` is empty.
 * MOCO_EFORMAT names the offset: not a whole archive, a comment, bytes before, between or behind members, compression,
 * encryption, two members of one name or on the same bytes, a name that leaves the archive's folder. */
moco_status zip_open(struct zip *zip, const struct file *file, struct err *err);
void zip_close(struct zip *zip); /* also when empty */

const struct zip_member *zip_find(const struct zip *zip, const char *name); /* NULL: none */

/* CRC-32 of the `size` bytes behind those that gave `crc` (0 at first). */
uint32_t zip_crc(uint32_t crc, const void *bytes, size_t size);
/* MOCO_EFORMAT unless `crc` is what the archive says of the member. */
moco_status zip_compare_crc(const struct zip *zip, const struct zip_member *member, uint32_t crc, struct err *err);
/* Reads all of the member through `piece` (`size` bytes) and compares its CRC-32. */
moco_status zip_check(const struct zip *zip, const struct zip_member *member, void *piece, size_t size,
                      struct err *err);

#endif
