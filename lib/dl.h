/* SPDX-License-Identifier: MIT
 *
 * dl: shared libraries loaded at run time, by their whole path. What a reader would get wrong: a bare name would be
 * searched for in LD_LIBRARY_PATH, so that dl_open refuses one. The caller must know the folder. */
#ifndef MOCO_LIB_DL_H
#define MOCO_LIB_DL_H

#include <stddef.h>

#include "err.h"

/* Loads the library at `path` with everything that it needs, its symbols for nobody else. MOCO_EINVAL: the path does not
 * begin with '/'. MOCO_EIO with the loader's own words: not a library, or one that lacks another. */
moco_status dl_open(void **library, const char *path, struct err *err);

/* Fills `path` with the first file of this name in `folders`, which are separated by ':' and may be patterns of glob(3): a
 * library of another's making, where its maker's packages put it. 0: none has one. */
enum { DL_PATH = 4096 };
int dl_find(char path[DL_PATH], const char *folders, const char *file);
/* Finds one and loads it; `path` says which. MOCO_ENODEV, where the sentence begins with the name of what it is. */
moco_status dl_load(void **library, char path[DL_PATH], const char *what, const char *folders, const char *file,
                    struct err *err);

/* The address of an exported symbol; NULL if there is none. */
void *dl_symbol(void *library, const char *name);

/* Writes the address of an exported function into `to`, a pointer to a pointer to one; 0: there is none. */
int dl_function(void *to, void *library, const char *name);

/* Gives the library back; it is unloaded if nobody else holds it. */
void dl_close(void *library);

/* The folder of the shared library that this code is part of, without its last '/'. 0 and "" where there is none to
 * name: the code was linked into the program itself, or loaded by a relative path, or `size` is too small. */
int dl_own_folder(char *folder, size_t size);

#endif
