/* SPDX-License-Identifier: MIT
 *
 * rank_module: see rank_module.h. */
#include "support/rigs/rank_module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/scratch_folder.h"

enum { BLOCK = 256 };

void rank_join_module(struct rank *k, const char *module, moco_context *context, const moco_comm_options *options)
{
    moco_comm_info info;
    moco_comm_info_init(&info);
    memset(k, 0, sizeof *k);
    void *library = dlopen(module, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    const moco_comm_module *entry = dlsym(library, "moco_comm_module_entry");
    if (moco_comm_from_module(&k->comm, context, entry, NULL, options) != MOCO_OK ||
        moco_comm_describe(k->comm, &info) != MOCO_OK) {
        fprintf(stderr, "%s\n", moco_error());
        exit(1);
    }
    k->rank = info.rank;
    k->ranks = info.ranks;
}

uint64_t rank_digest(struct rank *k)
{
    struct scratch_folder folder;
    uint64_t digest = 14695981039346656037u; /* FNV-1a */
    size_t size = 0;
    scratch_folder_make(&folder);
    const char *path = scratch_path(&folder, "state");
    if (moco_trainer_save(k->rig.trainer, path, NULL) == MOCO_OK) {
        char *bytes = rig_read_file(path, &size);
        for (size_t i = 0; i < size; i++)
            digest = (digest ^ (unsigned char)bytes[i]) * 1099511628211u;
        free(bytes);
    }
    scratch_folder_remove(&folder);
    return size > 0 ? digest : 0;
}

int rank_all_same(struct rank *k, const void *block, size_t size, const char *what)
{
    char *blocks = calloc((size_t)k->ranks, BLOCK);
    int same = blocks != NULL && size <= BLOCK;
    if (same) {
        memcpy(blocks + (size_t)k->rank * BLOCK, block, size);
        same = moco_comm_gather(k->comm, blocks, BLOCK) == MOCO_OK;
    }
    for (int r = 1; same && r < k->ranks; r++)
        if (memcmp(blocks, blocks + (size_t)r * BLOCK, BLOCK) != 0) {
            same = 0;
            if (k->rank == 0)
                fprintf(stderr, "%s: rank 0 and rank %d differ\n", what, r);
        }
    free(blocks);
    return same;
}
