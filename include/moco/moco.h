/* SPDX-License-Identifier: MIT
 *
 * moco/moco.h: all of libmoco. Read the headers in this order. */
#ifndef MOCO_MOCO_H
#define MOCO_MOCO_H

#include "moco/augment.h"
#include "moco/base.h"
#include "moco/data.h"
#include "moco/eval.h"
#include "moco/model.h"
#include "moco/preset.h"
#include "moco/probe.h"
#include "moco/queue.h"
#include "moco/random.h"
#include "moco/trainer.h"
#include "moco/weights.h"

#endif
