/* SPDX-License-Identifier: MIT
 *
 * moco/moco.h: all of libmoco. Read the headers in this order. */
#ifndef MOCO_MOCO_H
#define MOCO_MOCO_H

#include "moco/base.h"
#include "moco/model.h"
#include "moco/queue.h"
#include "moco/trainer.h"
#include "moco/data.h"
#include "moco/augment.h"
#include "moco/eval.h"
#include "moco/preset.h"
#include "moco/random.h"

#endif
