/* SPDX-License-Identifier: MIT
 *
 * moco/search.h: the nearest of many vectors. A bank holds vectors (of pictures, of keys) with a number each; a search
 * gives the numbers of the nearest and their cosines. Exact: every vector is looked at. */
#ifndef MOCO_SEARCH_H
#define MOCO_SEARCH_H

#include "moco/base.h"
#include "moco/queue.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moco_bank moco_bank;

/* An empty bank for vectors of `dim` numbers (1 to 1048576), at most 4,294,967,295 of them. They are kept in f32, scaled
 * to length 1. Owned; holds a reference on the device. Errors: MOCO_EINVAL, MOCO_ENOMEM. Threads: any. Since 0.1. */
MOCO_API moco_status moco_bank_create(moco_bank **bank, moco_device *device, int dim);

/* A bank from a file that moco_bank_save wrote. `map` 0: the file is read, and proved by its hashes. `map` 1: its pages
 * serve as the bank, read as a search comes to them: a bank of any size opens at once, and all processes that map it
 * share one copy; only its header is proved. Nobody may shorten a mapped file, or the process ends with SIGBUS:
 * moco_bank_save and other writers that rename a new file into its place are harmless. What is appended to a mapped bank
 * stays in memory until it is saved. Owned. Errors: MOCO_EIO, MOCO_EFORMAT, MOCO_EINVAL, MOCO_ENOMEM. Threads: any.
 * Since 0.1. */
MOCO_API moco_status moco_bank_open(moco_bank **bank, moco_device *device, const char *path, int map);

/* NULL is fine. Threads: any, once. Since 0.1. */
MOCO_API void moco_bank_free(moco_bank *bank);

/* Adds f32 [n, dim] (copied, scaled to length 1; a row of zeros stays one, and has cosine 0 to everything). `ids` [n],
 * 0 and more, name the vectors; they need not differ. NULL: numbers from the bank's count on. On failure the bank is as
 * it was. Errors: MOCO_EINVAL, MOCO_ESHAPE, MOCO_ENUMERIC names a row that is not finite, MOCO_ENOMEM; MOCO_ESTATE: another
 * thread appends to, searches or saves this bank. Threads: one call per bank. Since 0.1. */
MOCO_API moco_status moco_bank_append(moco_bank *bank, const moco_tensor *vectors, const int64_t *ids);

/* Adds the keys of a queue: `ids` [length] names the key in each row, -1 leaves it out, such as the rows that hold random
 * keys still (moco_queue_state). Errors: as moco_bank_append. Threads: as moco_bank_append, and on the queue as
 * moco_queue_get. Since 0.1. */
MOCO_API moco_status moco_bank_append_queue(moco_bank *bank, const moco_queue *queue, const int64_t *ids);

/* How many vectors it holds, and their length. Any output may be NULL. Threads: any, also while another one appends.
 * Since 0.1. */
MOCO_API moco_status moco_bank_describe(const moco_bank *bank, int64_t *count, int *dim);

/* A safetensors file of the tensors `vectors` [n, dim] f32 and `ids` [n] i64, which any reader of safetensors reads.
 * Written beside `path` and renamed. Errors: MOCO_EIO, MOCO_ENOMEM; MOCO_ESTATE: the bank is empty, or another thread
 * appends to it. Threads: any number beside searches. Since 0.1. */
MOCO_API moco_status moco_bank_save(moco_bank *bank, const char *path);

/* For each query, f32 [n, dim] of any length, the k (1 to 1048576) nearest: `ids` [n, k], nearest first, and their
 * `cosines` [n, k] (NULL: not wanted). Equal cosines: the vector added first comes first. Where the bank holds fewer than
 * k, the rest is -1 and -infinity. Cosines are computed in double from the vectors of length 1, so that an answer does not
 * depend on how many queries are asked at once or on the device; only where more than 16 vectors are as near as the k-th to
 * seven digits may others of them be among the k. Errors: MOCO_EINVAL, MOCO_ESHAPE, MOCO_ENUMERIC names a query that is
 * not finite, MOCO_ENOMEM; MOCO_ESTATE: the bank is empty, or a thread appends to it.
 * Threads: any number at once. Since 0.1. */
MOCO_API moco_status moco_knn_search(moco_bank *bank, const moco_tensor *queries, int k, int64_t *ids, float *cosines);

#ifdef __cplusplus
}
#endif
#endif
