/* SPDX-License-Identifier: MIT
 *
 * backends: the backends that are linked into this build. What a reader would get wrong: the list is alone in its file
 * because test programs link another one with devices of their own (tests/support/backends.c), and an archive gives way
 * only object by object: nothing else may be defined here. */
#include "backend/backend.h"

const struct backend *backend_listed(int index)
{
    static const struct backend *const list[] = {
#ifdef MOCO_HAVE_ONEDNN
        &backend_cpu,
#endif
        &backend_ref,
    };
    return index >= 0 && (size_t)index < sizeof list / sizeof list[0] ? list[index] : NULL;
}
