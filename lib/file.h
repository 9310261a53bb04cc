/* SPDX-License-Identifier: MIT
 *
 * file: reads pieces of a file that may change meanwhile, and replaces a file so that a whole one always exists.
 * Files are read with pread, never mapped: a file that shrinks gives an error, not SIGBUS. Interrupted and short
 * calls are continued; a call that is interrupted for ever is an error. Sentences name path, offset and the system's
 * reason. */
#ifndef MOCO_LIB_FILE_H
#define MOCO_LIB_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "ctx.h"

/* ---- reading ---- */

struct file {
    struct ctx *ctx;
    char *path;
    int fd;       /* -1: closed */
    int64_t size; /* when it was opened */
};

/* Regular files only: a pipe is not waited for. On failure `f` is closed and empty. */
moco_status file_open(struct file *f, struct ctx *ctx, const char *path, struct err *err);
/* All `size` bytes at `offset`, or MOCO_EIO. Threads: any number at once. */
moco_status file_read_at(const struct file *f, int64_t offset, void *bytes, size_t size, struct err *err);
void file_close(struct file *f); /* also when closed or all 0 */

/* A whole file of at most `most` bytes, and a 0 behind them; free `*bytes` with mem_free. Longer: MOCO_EFORMAT. */
moco_status file_read_all(struct ctx *ctx, const char *path, int64_t most, char **bytes, size_t *size, struct err *err);

/* ---- replacing ---- */

/* A new file that takes the place of `path` at commit and not before: NAME.tmp-PID-N beside it until then. A process
 * that is killed meanwhile leaves that behind, and `path` as it was. */
struct file_save {
    struct ctx *ctx;
    char *path, *temporary; /* temporary: its name in the folder */
    const char *name;       /* the last part of path */
    int folder, fd;         /* -1: not open */
    int64_t size;
};

/* Makes the temporary file and takes all `size` bytes of it on the disk at once: a full disk shows here, and so does a
 * size over the process's limit (RLIMIT_FSIZE), before there is a file. What is at `path` must be a regular file or
 * nothing (a link to one is replaced itself). On failure nothing is left. */
moco_status file_save_begin(struct file_save *s, struct ctx *ctx, const char *path, int64_t size, struct err *err);

/* Writes within the size that was passed to begin. Bytes that are never written are 0. */
moco_status file_save_write_at(struct file_save *s, int64_t offset, const void *bytes, size_t count, struct err *err);

/* Gives back what was asked for behind `size`: for who knows only at the end how much there is. */
moco_status file_save_shrink(struct file_save *s, int64_t size, struct err *err);

/* fsync, rename, fsync of the folder. On failure `path` is as it was and the temporary file is gone; but when only the
 * last fsync fails, the new file is in place, whole, and MOCO_EIO says that it may not survive a power cut. `s` is
 * freed in any case. */
moco_status file_save_commit(struct file_save *s, struct err *err);
void file_save_abandon(struct file_save *s); /* also after commit or a failed begin */

#endif
