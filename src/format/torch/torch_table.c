/* SPDX-License-Identifier: MIT
 *
 * torch_table: memory for the tables of what a pickle lists. */
#include <string.h>

#include "format/torch/torch_read.h"

moco_status torch_table(struct torch_file *t, int64_t count, size_t size, void *table, struct err *err)
{
    if (count > t->budget / (int64_t)size)
        return err_set(err, MOCO_EFORMAT,
                       "%.300s: at byte %lld: the pickle here lists more tensors, or longer names, than one of %zu "
                       "bytes may",
                       t->file.path, (long long)t->pickle.origin, t->pickle.size);
    t->budget -= count * (int64_t)size;
    void *memory = mem_array(t->ctx, (size_t)count, size, err);
    if (memory == NULL)
        return MOCO_ENOMEM;
    memcpy(table, &memory, sizeof memory);
    return MOCO_OK;
}
