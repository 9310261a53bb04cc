/* SPDX-License-Identifier: MIT
 *
 * open_data: finds the images of a run below one folder, whatever shape it has:
 *   data_batch_*.bin       CIFAR-10's binary files, and test_batch.bin
 *   train/ [val/ | test/]  a folder of class folders, or of images, each
 *   anything else          class folders, or images, with nothing held out */
#ifndef MOCO_EXAMPLES_OPEN_DATA_H
#define MOCO_EXAMPLES_OPEN_DATA_H

#include <moco/moco.h>

#include "err.h"
#include "hash.h"

struct open_data {
    moco_dataset *train;
    moco_dataset *held_out;        /* NULL: there is none */
    char kind[160];                /* for people: "DIR/train and DIR/val, folders of class folders" */
    char lack[160];                /* why held_out cannot tell how good features are; "" if it can */
    char print[80];                /* fingerprint of the training set: "50000 images, 10 classes, 0123456789abcdef" */
    char classes[HASH_DIGITS + 1]; /* of the names of its classes in order, which is all that a label means */
};

moco_status open_data(struct open_data *data, moco_context *context, const char *folder, struct err *err);
void open_data_free(struct open_data *data);

#endif
