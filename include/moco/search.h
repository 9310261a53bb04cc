/* SPDX-License-Identifier: MIT
 *
 * moco/search.h: the nearest of many vectors. A bank holds vectors (of pictures, of keys), each with a number, its
 * id. A search returns the ids of the nearest vectors and their cosines. It is exact: every vector is compared. */
#ifndef MOCO_SEARCH_H
#define MOCO_SEARCH_H

#include "moco/base.h"
#include "moco/queue.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moco_bank moco_bank;

/* Makes an empty bank for vectors of `dim` numbers (1 to 1048576), at most 4,294,967,295 of them. They are kept in
 * f32, scaled to length 1. A device that finds neighbours itself (CUDA) gets a copy in its memory at the first search,
 * if that takes at most half of what is free there; it goes with the bank. Owned; it holds a reference on the device.
 * Errors: MOCO_EINVAL, MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_bank_create(moco_bank **bank, moco_device *device, int dim);

/* Opens a bank from a file that moco_bank_save wrote.
 *
 * `map` 0: the file is read into memory and verified by its hashes. `map` 1: the file's pages serve as the bank and
 * are read when a search needs them. A bank of any size then opens at once, and all processes that map it share one
 * copy; only its header is verified. Nobody may shorten a mapped file: the process would end with SIGBUS.
 * moco_bank_save and other writers that rename a new file over it are harmless. Vectors that are appended to a
 * mapped bank stay in memory until the bank is saved. Owned.
 * Errors: MOCO_EIO, MOCO_EFORMAT, MOCO_EINVAL, MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_bank_open(moco_bank **bank, moco_device *device, const char *path, int map);

/* Frees the handle. NULL is allowed. Threads: any thread may free it, once; nobody may use it afterwards. Since 0.1. */
MOCO_API void moco_bank_free(moco_bank *bank);

/* Adds the vectors f32 [n, dim] (copied, scaled to length 1; a row of zeros stays zero, and has cosine 0 to
 * everything). `ids` [n], each 0 or more, number the vectors; several may have the same id. NULL: they are numbered
 * from the bank's count on. On failure the bank is unchanged.
 * Errors: MOCO_EINVAL, MOCO_ESHAPE, MOCO_ENUMERIC names a row that is not finite, MOCO_ENOMEM; MOCO_ESTATE: another
 * thread appends to, searches or saves this bank.
 * Threads: a bank serves one append at a time, and no search or save beside it. Since 0.1. */
MOCO_API moco_status moco_bank_append(moco_bank *bank, const moco_tensor *vectors, const int64_t *ids);

/* Adds the keys of a queue. `ids` [length] numbers the key in each row; -1 leaves a row out, for example one that
 * still holds a random key (moco_queue_state).
 * Errors: as moco_bank_append.
 * Threads: the rule of moco_bank_append; on the queue it counts as moco_queue_get. Since 0.1. */
MOCO_API moco_status moco_bank_append_queue(moco_bank *bank, const moco_queue *queue, const int64_t *ids);

/* How many vectors the bank holds, and their length. Any output may be NULL.
 * Threads: any thread may call it at any time, also while another one appends. Since 0.1. */
MOCO_API moco_status moco_bank_describe(const moco_bank *bank, int64_t *count, int *dim);

/* Writes a safetensors file with the tensors `vectors` [n, dim] f32 and `ids` [n] i64, which every reader of
 * safetensors can read. It is written to a temporary file beside `path` and renamed.
 * Errors: MOCO_EIO, MOCO_ENOMEM; MOCO_ESTATE: the bank is empty, or another thread appends to it.
 * Threads: any number may save and search at once. Since 0.1. */
MOCO_API moco_status moco_bank_save(moco_bank *bank, const char *path);

/* Finds the k (1 to 1048576) nearest vectors for each query, f32 [n, dim]; a query need not be scaled.
 * `ids` [n, k] gets their ids, nearest first, and `cosines` [n, k] (NULL: not wanted) their cosines. Of vectors with
 * equal cosines the one that was added first comes first. If the bank holds fewer than k, the rest is -1 and
 * -infinity.
 *
 * Cosines are computed in double from vectors of length 1. The answer therefore does not depend on the device or on
 * how many queries are asked at once. One exception: where more than 16 vectors agree with the k-th nearest to seven
 * digits, others of them may be among the k.
 * Errors: MOCO_EINVAL, MOCO_ESHAPE, MOCO_ENUMERIC names a query that is not finite, MOCO_ENOMEM, MOCO_EDEVICE;
 * MOCO_ESTATE: the bank is empty, or a thread appends to it.
 * Threads: any number may call it at once. Since 0.1. */
MOCO_API moco_status moco_knn_search(moco_bank *bank, const moco_tensor *queries, int k, int64_t *ids, float *cosines);

#ifdef __cplusplus
}
#endif
#endif
