/* SPDX-License-Identifier: MIT
 *
 * moco/moco.h: includes all of libmoco, which learns an image encoder from pictures without labels by Momentum
 * Contrast (MoCo v2, arXiv 2003.04297), and uses it.
 *
 * Introduction. A network (moco_model, the encoder) turns a picture into a vector. A training step shows it two
 * random views of each picture of a batch. The vector of the first view is the query, that of the second is its key.
 * The loss is small when a query is close to its own key and far from the keys of other pictures, the negatives.
 * Keys come from a second network, the key encoder, which is a slowly moving average of the first. Keys of earlier
 * steps stay in a queue (moco_queue) and serve as negatives. A trainer (moco_trainer) does one such step per call;
 * the loop around it is yours. docs/glossary.md defines the words.
 *
 * The simple way. A preset names a published configuration and fills every option. examples/first.c is the whole
 * program; examples/overnight.c adds checkpoints and resuming. The calls, in order:
 *
 *   moco_preset_get, moco_model_options_preset, moco_trainer_options_preset, moco_augment_options_preset
 *   moco_context_create, moco_device_open         where to compute
 *   moco_dataset_open_folder, moco_loader_create  pictures, as batches of two views
 *   moco_model_create, moco_queue_create, moco_trainer_create
 *   each epoch:  moco_loader_start
 *   each step:   moco_loader_next, moco_trainer_step with the rate of moco_preset_lr
 *   moco_model_save                               the encoder, as a file
 *
 *   later, in any program: moco_model_open, moco_model_embed
 *
 * What holds for every call (status and error sentence, ownership, struct sizes, threads) is at the top of
 * moco/base.h.
 *
 * Learning order. The headers below are in the order in which to read them. The first six are what the simple
 * program uses. comm.h is for training in several ranks. The next four are for measuring, for services and for
 * searching, the next three for files of other programs, and the last two for working without a loader and for
 * checking a run from outside. */
#ifndef MOCO_MOCO_H
#define MOCO_MOCO_H

/* The order is the learning order: base.h first, random.h last. */
/* clang-format off */
#include "moco/base.h"    /* status, errors, tensors, context, device */
#include "moco/preset.h"  /* published configurations by name, learning rates */
#include "moco/data.h"    /* data sets, recipes of views, loaders */
#include "moco/model.h"   /* one encoder: create, open, save, embed */
#include "moco/queue.h"   /* the negatives */
#include "moco/trainer.h" /* a step, what it measured, checkpoints */
#include "moco/comm.h"    /* several ranks train one model */
#include "moco/eval.h"    /* kNN, statistics of features */
#include "moco/encoder.h" /* an encoder in a service: many threads, one set of weights */
#include "moco/search.h"  /* the nearest of many vectors */
#include "moco/probe.h"   /* linear classification of frozen features */
#include "moco/weights.h" /* named tensors of a file that another program wrote */
#include "moco/export.h"  /* an encoder as files that other programs load */
#include "moco/import.h"  /* encoders and training states from such files */
#include "moco/augment.h" /* one picture, one view at a time */
#include "moco/random.h"  /* the orders that libmoco draws at random */
/* clang-format on */

#endif
