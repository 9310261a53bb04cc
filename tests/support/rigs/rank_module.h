/* SPDX-License-Identifier: MIT
 *
 * rank_module: a rank that a launcher has started, for test programs. They are linked to the library's objects and not to
 * libmoco.so, so that they load an engine's module from where they are told. */
#ifndef MOCO_TESTS_RANK_MODULE_H
#define MOCO_TESTS_RANK_MODULE_H

#include "support/rigs/rank_rig.h"

/* Fills comm, rank and ranks of `k`; ends the program with a sentence if it cannot. */
void rank_join_module(struct rank *k, const char *module, moco_context *context, const moco_comm_options *options);

/* A number that the bytes of the trainer's saved state make; 0: it could not be saved. */
uint64_t rank_digest(struct rank *k);

/* 1 if all ranks bring the same block of at most 256 bytes; else rank 0 prints which does not. */
int rank_all_same(struct rank *k, const void *block, size_t size, const char *what);

#endif
