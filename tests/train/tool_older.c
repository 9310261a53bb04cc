/* SPDX-License-Identifier: MIT
 *
 * tool_older: tool_older FROM TO writes the encoder of FROM as programs did that set no recipe, and as all did before
 * there were recipes: the file says nothing of how images are to be looked at. */
#include <stdio.h>
#include <stdlib.h>

#include "moco/moco.h"

static void ok(moco_status status)
{
    if (status == MOCO_OK)
        return;
    fprintf(stderr, "tool_older: %s\n", moco_error());
    exit(1);
}

int main(int argc, char **argv)
{
    moco_context *context;
    moco_device *device;
    moco_model *from, *to;
    moco_model_info info;
    moco_model_options options;
    if (argc != 3)
        return 2;
    moco_model_info_init(&info);
    moco_model_options_init(&options);
    ok(moco_context_create(&context, NULL));
    ok(moco_device_open(&device, context, "cpu"));
    ok(moco_model_open(&from, device, argv[1]));
    ok(moco_model_describe(from, &info));
    options.arch = info.arch;
    options.stem = info.stem;
    options.head = info.head;
    options.width = info.width;
    options.dim = info.dim;
    options.image_size = info.image_size;
    for (int i = 0; i < 3; i++) {
        options.mean[i] = info.mean[i];
        options.std[i] = info.std[i];
    }
    ok(moco_model_create(&to, device, &options));
    for (int i = 0; i < info.tensor_count; i++) {
        const char *name = moco_model_tensor_name(from, i);
        moco_tensor t;
        moco_tensor_init(&t);
        ok(moco_model_get(from, name, &t)); /* what it is like */
        int64_t count = 1;
        for (int d = 0; d < t.ndim; d++)
            count *= t.shape[d];
        t.data = malloc((size_t)count * moco_dtype_size((moco_dtype)t.dtype));
        if (t.data == NULL)
            return 1;
        ok(moco_model_get(from, name, &t));
        ok(moco_model_set(to, name, &t));
        free(t.data);
    }
    ok(moco_model_save(to, argv[2]));
    moco_model_free(from);
    moco_model_free(to);
    moco_device_free(device);
    moco_context_free(context);
    return 0;
}
