/* SPDX-License-Identifier: MIT
 *
 * file_map: the pages of a file as memory. What a reader would get wrong: if somebody shortens a mapped file, the
 * process ends with SIGBUS, and no check here can prevent that. Map only what the caller asked to map; file.h is for
 * everything else. */
#ifndef MOCO_LIB_FILE_MAP_H
#define MOCO_LIB_FILE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "ctx.h"

struct file_map {
    const void *at; /* NULL: nothing is mapped */
    size_t bytes;
};

/* The whole file, which must have `bytes` bytes, to be read only. MOCO_EIO, MOCO_ENOMEM (no room for it in the address
 * space). */
moco_status file_map(struct file_map *map, struct ctx *ctx, const char *path, int64_t bytes, struct err *err);
void file_unmap(struct file_map *map); /* also when nothing is mapped */

#endif
