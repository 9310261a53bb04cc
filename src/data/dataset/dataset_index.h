/* SPDX-License-Identifier: MIT
 *
 * dataset_index: where the pictures of tar shards are, in a file that is made once and then mapped: opening it costs no
 * walk through the shards, and processes on one machine share its pages. The head, with the shards' names, sizes and
 * times, has a hash and is read when it is opened. Each picture's entry has a checksum, which is looked at when the entry
 * is used: the file may be larger than memory. What a reader would get wrong: a damaged entry is a failure of the file,
 * not a bad picture that the loader may replace. docs/checkpoint.md has the layout. */
#ifndef MOCO_DATA_DATASET_INDEX_H
#define MOCO_DATA_DATASET_INDEX_H

#include "dataset.h"
#include "names.h"

struct index_entry {
    int64_t offset; /* in the shard */
    uint32_t size, shard;
    int32_t label; /* -1: none */
    uint32_t check;
};

/* What is to be written. */
struct index_source {
    const struct names *shards;
    int64_t count;
    int32_t classes;                                                        /* 0: no labels */
    void (*entry)(const void *user, int64_t id, struct index_entry *entry); /* all but `check` */
    const void *user;
};

/* Replaces `path`. MOCO_EIO: also if a shard is not as large as its pictures want it. */
moco_status dataset_index_write(struct ctx *ctx, const char *path, const struct index_source *source, struct err *err);
/* The same of a data set of dataset_open_tar; MOCO_ENOTSUP: it is another. */
moco_status dataset_index_save(const struct dataset *ds, const char *path, struct err *err);
/* MOCO_EFORMAT: it is none, or damaged. MOCO_EIO: also if a shard has changed since. */
moco_status dataset_open_index(struct dataset **out, struct ctx *ctx, const char *path, struct err *err);

/* Of all entries, in hex, as the head says; NULL: of another kind of data set. */
const char *dataset_index_hash(const struct dataset *ds);

/* Of a data set of dataset_open_tar; `shards` NULL: it is another. */
void dataset_tar_source(const struct dataset *ds, struct index_source *source);

#endif
