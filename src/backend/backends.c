/* SPDX-License-Identifier: MIT
 *
 * backends: the backends that are linked into this build. What a reader would get wrong: nothing else may be defined
 * in this file. Test programs link another list, with devices of their own (tests/support/devices/backends.c), and a linker
 * replaces a member of an archive only as a whole. */
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
