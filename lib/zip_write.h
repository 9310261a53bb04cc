/* SPDX-License-Identifier: MIT
 *
 * zip_write: writes a zip archive that stores its members uncompressed, with sizes and CRC-32 in the local headers,
 * as zip.h reads and torch.load maps. Contents start at multiples of 64 bytes. What a reader would get wrong: the
 * file replaces `path` only at commit; until then its CRC fields are 0. */
#ifndef MOCO_LIB_ZIP_WRITE_H
#define MOCO_LIB_ZIP_WRITE_H

#include <stdint.h>

#include "ctx.h"

struct zip_put_member {
    const char *name; /* at most 1000 bytes of UTF-8 */
    int64_t size;
};

struct zip_writer;

/* How sizes, offsets and counts are written. As torch does: in 64 bits what 32 (of a count 16) do not hold, and a record
 * of 64 bits at the end if anything is; ALL: everything, however small, which makes that form one that small files can
 * test. */
enum zip_wide { ZIP_WIDE_NEEDED, ZIP_WIDE_ALL };

/* All members are listed at once; nothing is kept of the list. Errors: MOCO_EINVAL (a name, or sizes beyond 2^62 bytes),
 * MOCO_EIO, MOCO_ENOMEM. */
moco_status zip_create(struct zip_writer **out, struct ctx *ctx, const char *path, const struct zip_put_member *members,
                       int64_t count, enum zip_wide wide, struct err *err);
/* Appends to member number `member`. Members come in any order, each whole before the next. */
moco_status zip_put(struct zip_writer *w, int64_t member, const void *bytes, size_t size, struct err *err);
/* Checks that all members are whole, and puts the file in its place; frees the writer, also on failure, which leaves
 * what was at `path`. */
moco_status zip_commit(struct zip_writer *w, struct err *err);
void zip_abandon(struct zip_writer *w); /* NULL is fine */

#endif
