/* SPDX-License-Identifier: MIT
 *
 * err: the error record that internal calls fill and src/api copies to the calling thread. Every internal function
 * that can fail takes a `struct err *` as its last argument (NULL is allowed) and returns a moco_status. The first
 * error wins: a clean-up that fails afterwards does not overwrite the reason. */
#ifndef MOCO_LIB_ERR_H
#define MOCO_LIB_ERR_H

#include "moco/status.h"

struct err {
    moco_status status; /* MOCO_OK: nothing recorded yet */
    char text[512];     /* one sentence: what, where, why; one line of UTF-8 that a terminal can be given */
};

/* Records (unless something is recorded already) and returns `status`, so that `return err_set(...)` reads well. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
moco_status
err_set(struct err *err, moco_status status, const char *format, ...);

/* Puts "`prefix`: " in front of the recorded sentence: for a caller that knows the file or tensor name. */
void err_prefix(struct err *err, const char *prefix);

/* Leaves the function with the failing status. */
#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        moco_status try_status_ = (call);                                                                              \
        if (try_status_ != MOCO_OK)                                                                                    \
            return try_status_;                                                                                        \
    } while (0)

/* Jumps to `label` with the failing status in `var`. */
#define TRY_GOTO(var, call, label)                                                                                     \
    do {                                                                                                               \
        (var) = (call);                                                                                                \
        if ((var) != MOCO_OK)                                                                                          \
            goto label;                                                                                                \
    } while (0)

#endif
