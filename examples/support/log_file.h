/* SPDX-License-Identifier: MIT
 *
 * log_file: a file of lines that one process writes while others read it. Each line is complete or absent, also when
 * the disk is full. What a reader would get wrong: a line that could not be written is kept, not lost. The next put
 * writes it first, and sync fails until then. A state that is saved after a sync therefore never knows of a step
 * that the log lacks. */
#ifndef MOCO_EXAMPLES_LOG_FILE_H
#define MOCO_EXAMPLES_LOG_FILE_H

#include <stdint.h>

#include "err.h"

struct log_file {
    int fd;     /* -1: closed */
    int locked; /* no other process writes it; 0: the file system knows no locks */
    char path[1200];
    int64_t end; /* bytes of whole lines */
    int torn;    /* a part of a line may stand behind them */
    char *owed;  /* the line that could not be written, or NULL */
    int lost;    /* there was no memory to owe it */
};

/* Opened, locked and made where it is not there. MOCO_ESTATE: another process holds it. */
moco_status log_file_open(struct log_file *log, const char *path, struct err *err);
void log_file_close(struct log_file *log);

/* MOCO_ESTATE: another process holds the file. Not for a process that has it open: closing would give up its lock. */
moco_status log_file_unused(const char *path, struct err *err);

/* 0: the path names another file by now, or none. */
int log_file_is_there(const struct log_file *log);

/* Cuts the file before the first line that `keeps` answers 0 for, and before a last line that has no end. */
moco_status log_file_cut(struct log_file *log, int (*keeps)(void *user, const char *line), void *user, struct err *err);

moco_status log_file_put(struct log_file *log, const char *line, struct err *err); /* `line` ends in a newline */
moco_status log_file_sync(struct log_file *log, struct err *err);                  /* all lines are on the disk */

/* Calls `line` with each whole line from `fd`, without moving its offset or closing it, until it answers 0. *end: bytes
 * of the lines it answered 1 for. */
moco_status log_file_lines(int fd, const char *path, int (*line)(void *user, const char *line), void *user,
                           int64_t *end, struct err *err);

#endif
