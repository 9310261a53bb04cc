/* SPDX-License-Identifier: MIT
 *
 * weights_listing: see weights_listing.h. */
#include "support/files/weights_listing.h"

#include <stdlib.h>

#include <zlib.h>

static moco_status list_tensor(FILE *out, moco_weights *weights, int64_t index)
{
    moco_weights_info info;
    moco_tensor tensor;
    moco_weights_info_init(&info);
    moco_tensor_init(&tensor);
    moco_status status = moco_weights_at(weights, index, &info);
    if (status == MOCO_OK)
        status = moco_weights_read(weights, index, &tensor);
    if (status != MOCO_OK)
        return status;
    size_t bytes = (size_t)info.count * moco_dtype_size((moco_dtype)tensor.dtype);
    tensor.data = malloc(bytes + 1);
    status = moco_weights_read(weights, index, &tensor);
    fprintf(out, "tensor %s %s [", info.name, info.dtype);
    for (int d = 0; d < info.ndim; d++)
        fprintf(out, d == 0 ? "%lld" : ",%lld", (long long)info.shape[d]);
    fprintf(out, "] [");
    for (int d = 0; d < info.ndim; d++)
        fprintf(out, d == 0 ? "%lld" : ",%lld", (long long)info.stride[d]);
    if (status == MOCO_OK)
        fprintf(out, "] %08lx\n", crc32_z(0, tensor.data, bytes));
    else
        fprintf(out, "]\n");
    free(tensor.data);
    return status;
}

moco_status weights_listing(FILE *out, moco_context *context, const char *path)
{
    moco_weights *weights = NULL;
    moco_status status = moco_weights_open(&weights, context, path);
    if (status == MOCO_OK)
        fprintf(out, "format %s\n", moco_weights_format(weights));
    for (int64_t i = 0; status == MOCO_OK && i < moco_weights_count(weights); i++)
        status = list_tensor(out, weights, i);
    for (int64_t i = 0; status == MOCO_OK && moco_weights_key(weights, i) != NULL; i++) {
        char text[4096];
        status = moco_weights_text(weights, moco_weights_key(weights, i), text, sizeof text);
        if (status == MOCO_OK)
            fprintf(out, "text %s=%s\n", moco_weights_key(weights, i), text);
    }
    for (int64_t i = 0; status == MOCO_OK && moco_weights_note(weights, i) != NULL; i++)
        fprintf(out, "note %s\n", moco_weights_note(weights, i));
    if (status != MOCO_OK)
        fprintf(out, "error %s\n", moco_error());
    moco_weights_free(weights);
    return status;
}
