/* SPDX-License-Identifier: MIT
 *
 * source: see source.h. */
#include "source.h"

#include <errno.h>
#include <unistd.h>

#include "file_retry.h"

/* Fills the window with the next bytes and returns how many; 0 at the end or after a failure, which stays in
 * source->status. */
size_t source_next(struct source *source, const uint8_t **bytes)
{
    *bytes = source->window;
    if (source->fd < 0 || source->status != MOCO_OK || source->at >= source->end)
        return 0;
    int64_t left = source->end - source->at;
    size_t want = left < (int64_t)source->window_size ? (size_t)left : source->window_size, have = 0;
    int tries = 0;
    while (have < want) {
        ssize_t got = pread(source->fd, source->window + have, want - have, (off_t)source->at);
        if (got < 0 && file_again(&tries))
            continue;
        if (got < 0) {
            char reason[FILE_REASON];
            source->status = err_set(&source->error, MOCO_EIO, "reading at offset %lld failed: %s",
                                     (long long)source->at, file_reason(errno, reason));
            return 0;
        }
        if (got == 0) { /* the file shrank, which is a truncated image */
            source->end = source->at;
            break;
        }
        tries = 0;
        have += (size_t)got;
        source->at += got;
    }
    return have;
}
