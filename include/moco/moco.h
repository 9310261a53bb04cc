/* SPDX-License-Identifier: MIT
 *
 * moco/moco.h: all of libmoco: learning an image encoder from pictures without labels by Momentum Contrast (MoCo v2,
 * arXiv 2003.04297), and using it.
 *
 * A network (moco_model) turns a picture into a vector. Training shows it two random views of each picture: the vector of
 * one view, the query, shall be close to that of the other, the key, and far from those of other pictures, the negatives.
 * Keys come from a second network, a slowly moving average of the first one; keys of earlier steps stay in a queue and
 * serve as negatives. moco_trainer does one such step at a time; the loop around it is yours.
 *
 * The simple way. A preset names a published configuration and fills every option; examples/first.c is the whole program:
 *
 *   moco_preset_get, moco_model_options_preset, moco_trainer_options_preset, moco_augment_options_preset
 *   moco_context_create, moco_device_open         where to compute
 *   moco_dataset_open_folder, moco_loader_create  pictures, as batches of two views
 *   moco_model_create, moco_queue_create, moco_trainer_create
 *   each epoch:  moco_loader_start
 *   each step:   moco_loader_next, moco_trainer_step with the rate of moco_preset_lr
 *   moco_model_save; later, in any program: moco_model_open, moco_model_embed
 *
 * Read the headers in the order below. The first six are what that program uses; the others are for looking at what was
 * learnt, for files of other programs and for checking libmoco from outside. */
#ifndef MOCO_MOCO_H
#define MOCO_MOCO_H

/* This order is the course: base.h first, random.h last. */
/* clang-format off */
#include "moco/base.h"    /* status, errors, tensors, context, device */
#include "moco/preset.h"  /* published configurations by name, learning rates */
#include "moco/data.h"    /* data sets, recipes of views, loaders */
#include "moco/model.h"   /* one encoder: create, open, save, embed */
#include "moco/queue.h"   /* the negatives */
#include "moco/trainer.h" /* a step, what it measured, checkpoints */
#include "moco/comm.h"    /* several ranks train one model */
#include "moco/eval.h"    /* kNN, statistics of features */
#include "moco/search.h"  /* the nearest of many vectors */
#include "moco/probe.h"   /* linear classification of frozen features */
#include "moco/weights.h" /* named tensors of somebody's file */
#include "moco/export.h"  /* an encoder as files that other programs load */
#include "moco/import.h"  /* encoders and training states out of them */
#include "moco/augment.h" /* one picture, one view at a time */
#include "moco/random.h"  /* the orders that libmoco draws */
/* clang-format on */

#endif
