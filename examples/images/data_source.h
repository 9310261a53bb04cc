/* SPDX-License-Identifier: MIT
 *
 * data_source: one set of images in any of these forms, the same for every program:
 *   a folder of images, or of class folders
 *   a folder of tar shards (*.tar, no images and no folders), or one shard
 *   CIFAR-10's binary files (a folder of data_batch_*.bin), or one of them
 *   a list: any other file, one path a line
 * Several are given as one word with colons between them, or as several words. A path that exists as a whole is one
 * source, even if it contains colons. */
#ifndef MOCO_EXAMPLES_DATA_SOURCE_H
#define MOCO_EXAMPLES_DATA_SOURCE_H

#include <moco/moco.h>

#include "err.h"

#define DATA_PATH 4096
#define DATA_SOURCES_MAX 32

/* Files of one folder, by name. */
struct data_files {
    char **path;
    int count;
};
/* Those that `wanted` answers 1 for. An unreadable folder has none, as the one that opens it will say. */
moco_status data_files_find(struct data_files *files, const char *folder, int (*wanted)(const char *name),
                            struct err *err);
void data_files_free(struct data_files *files);
int data_files_is_batch(const char *name); /* CIFAR-10's training files */
int data_files_is_shard(const char *name);

/* `out`: a run's folder, which is no data; NULL: none. */
moco_status data_source_open(moco_dataset **set, moco_context *context, const char *path, const char *out,
                             struct err *err);

/* The single paths in `paths`: their number; each is free()d by the caller. 0: too many, or no memory; says so. */
int data_source_split(const char *paths, char *path[DATA_SOURCES_MAX], struct err *err);

/* All of them, joined. */
moco_status data_source_open_all(moco_dataset **set, moco_context *context, const char *paths, const char *out,
                                 struct err *err);

/* `*set` becomes itself and `more`, which is freed; either may be NULL. */
moco_status data_source_join(moco_dataset **set, moco_dataset *more, struct err *err);

#endif
