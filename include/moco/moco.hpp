/* SPDX-License-Identifier: MIT
 *
 * moco/moco.hpp: the interface for C++17 and later. It holds no code of its own: every call is one of the C interface, whose
 * headers say what it does, with which shapes and errors, and from which threads; moco::model::save is moco_model_save.
 * There is nothing to link beside libmoco.
 *
 *  - Handles are classes that free themselves; they move and do not copy.
 *  - Every call that can fail exists twice. `x` throws moco::error, which is a status and its sentence. `try_x` returns
 *    a moco::result, which is true if it worked, and never throws. With -fno-exceptions there is try_x alone.
 *  - Tensors are views of memory that belongs to you (moco::view<const float>), or own their numbers (moco::array).
 *  - A struct of options has its defaults: moco::loader_options loading; loading.batch_size = 64;
 *  - Callbacks are lambdas. They live as long as anything that may call them. What they throw does not cross C: it ends
 *    the call, which throws it again. They run on the threads that the C headers name.
 *
 * A handle may be used by several threads exactly as its C functions say; it may not be moved or destroyed while
 * another thread is in a call. */
#ifndef MOCO_MOCO_HPP
#define MOCO_MOCO_HPP

#if !defined(__cplusplus) || __cplusplus < 201703L
#error "moco.hpp needs C++17; moco.h serves C99 and C++11"
#endif

/* Each includes those above it. */
/* clang-format off */
#include "moco/moco.h"
#include "moco/cpp/error.hpp"   /* error, result */
#include "moco/cpp/view.hpp"    /* shape, view, array: tensors */
#include "moco/cpp/handle.hpp"  /* what handles share */
#include "moco/cpp/device.hpp"  /* context, device, presets */
#include "moco/cpp/sources.hpp" /* how lambdas are data sets */
#include "moco/cpp/data.hpp"    /* image, augment, dataset, loader, batch */
#include "moco/cpp/weights.hpp" /* weights: files of other programs */
#include "moco/cpp/model.hpp"   /* model, queue */
#include "moco/cpp/trainer.hpp" /* comm, trainer, checkpoint */
#include "moco/cpp/encoder.hpp" /* encoder, bank, knn, probe */
/* clang-format on */

#endif
