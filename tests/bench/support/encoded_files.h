/* SPDX-License-Identifier: MIT
 *
 * encoded_files: the files of a data set, mapped, as a source of encoded pictures: what a program that has its pictures
 * in a store of its own hands to moco_dataset_from_encoded. */
#ifndef MOCO_BENCH_ENCODED_FILES_H
#define MOCO_BENCH_ENCODED_FILES_H

#include "data/dataset/dataset.h"

struct encoded_files;

/* `ds` reads from `files`, which is freed after it; the pictures and their order are those of `folder`. */
moco_status encoded_files_open(struct encoded_files **files, struct dataset **ds, struct ctx *ctx,
                               const struct dataset *folder, struct err *err);
void encoded_files_free(struct encoded_files *files);

#endif
