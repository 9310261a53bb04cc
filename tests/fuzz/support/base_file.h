/* SPDX-License-Identifier: MIT
 *
 * base_file: a sound file that the library itself has saved, taken apart: what a target's inputs then change. */
#ifndef MOCO_FUZZ_BASE_FILE_H
#define MOCO_FUZZ_BASE_FILE_H

#include <stdio.h>
#include <stdlib.h>

#include "support/files/forged_file.h"

/* Saves a base by `save`, in a folder of its own that is gone afterwards, and takes it apart. */
static void base_file_make(struct forged *base, moco_status (*save)(const char *path, struct err *err))
{
    char folder[] = "/tmp/moco-fuzz-XXXXXX", path[64];
    struct err err = {0};
    if (mkdtemp(folder) == NULL)
        exit(1);
    snprintf(path, sizeof path, "%s/base", folder);
    if (save(path, &err) != MOCO_OK) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    forged_read(base, path);
    remove(path);
    remove(folder);
}

#endif
