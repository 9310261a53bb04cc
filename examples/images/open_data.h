/* SPDX-License-Identifier: MIT
 *
 * open_data: finds the images of a run, and the held-out ones, in the paths that a person named: one or several of
 *   data_batch_*.bin       a folder of CIFAR-10's binary files, and test_batch.bin
 *   *.tar                  a folder of tar shards and no folders; those with val or test in their names are held out
 *   train/ [val/ | test/]  a folder of class folders, of images, or of tar shards, each
 *   a folder               class folders, or images, with nothing held out
 *   a file                 a tar shard, or a list of images; val.* or test.* beside train.* is held out */
#ifndef MOCO_EXAMPLES_OPEN_DATA_H
#define MOCO_EXAMPLES_OPEN_DATA_H

#include <moco/moco.h>

#include "data_layout.h"
#include "err.h"
#include "hash.h"

struct open_data {
    moco_dataset *train;
    moco_dataset *held_out; /* NULL: there is none */
    char where[2][300];     /* of the training and the held-out part, for people */
    char held_name[32];     /* "val": what the held-out part is called */
    char kind[160];         /* for people: "DIR/train and DIR/val, folders of class folders" */
    char lack[256];         /* why held_out cannot tell how good features are; "" if it can */
    char print[80];         /* fingerprint of the training set: "50000 images, 10 classes, 0123456789abcdef" */
    char train_left_out[256], held_left_out[256]; /* "28 files: 20 .webp, 8 .bmp"; "": none */
    struct data_notes notes;                      /* what is odd about the folder; for a person */
    char classes[HASH_DIGITS + 1]; /* of the names of its classes in order, which is all that a label means */
};

/* `paths`: see data_source.h. `out`: the folder of this run or probe, which is not data even if it is among them;
 * NULL: there is none. Folders of runs are never data. MOCO_EINVAL also if another folder was clearly meant. */
moco_status open_data(struct open_data *data, moco_context *context, const char *paths, const char *out,
                      struct err *err);
void open_data_free(struct open_data *data);

#endif
