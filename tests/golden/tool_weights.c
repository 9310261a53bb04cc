/* SPDX-License-Identifier: MIT
 *
 * tool_weights: prints what moco/weights.h says of files, and after each what memory it took: for test_weights.py. */
#include "support/files/weights_listing.h"

int main(int count, char **paths)
{
    for (int i = 1; i < count; i++) {
        moco_context *context = NULL;
        int64_t live = 0, peak = 0;
        if (moco_context_create(&context, NULL) != MOCO_OK)
            return 2;
        printf("file %s\n", paths[i]);
        weights_listing(stdout, context, paths[i]);
        moco_context_memory(context, &live, &peak, NULL);
        printf("memory %lld\n", (long long)peak);
        moco_context_free(context);
    }
    return 0;
}
