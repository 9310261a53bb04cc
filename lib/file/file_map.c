/* SPDX-License-Identifier: MIT
 *
 * file_map: see file_map.h. The descriptor is closed at once: the mapping keeps the file. */
#define _DEFAULT_SOURCE /* MAP_SHARED with O_CLOEXEC under strict POSIX headers */
#include "file_map.h"

#include <errno.h>
#include <sys/mman.h>

#include "file.h"
#include "file_retry.h"

moco_status file_map(struct file_map *map, struct ctx *ctx, const char *path, int64_t bytes, struct err *err)
{
    struct file file;
    *map = (struct file_map){0};
    TRY(file_open(&file, ctx, path, err));
    moco_status status = MOCO_OK;
    if (file.size != bytes || bytes < 1)
        status = err_set(err, MOCO_EIO, "%.300s: it has %lld bytes; it had %lld a moment ago", path,
                         (long long)file.size, (long long)bytes);
    if (status == MOCO_OK) {
        void *at = mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED, file.fd, 0);
        if (at == MAP_FAILED)
            status = file_error(err, errno, path, "it cannot be mapped into memory");
        else
            *map = (struct file_map){.at = at, .bytes = (size_t)bytes};
    }
    file_close(&file);
    return status;
}

void file_unmap(struct file_map *map)
{
    if (map->at != NULL)
        munmap((void *)(uintptr_t)map->at, map->bytes);
    *map = (struct file_map){0};
}
