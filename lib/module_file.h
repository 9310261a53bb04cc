/* SPDX-License-Identifier: MIT
 *
 * module_file: parts of libmoco in shared libraries of their own, libmoco_NAME.so. What a reader would get wrong: a module is
 * loaded from two folders only, that of libmoco.so and the one that the build will install into. No environment
 * variable and no working folder decides which code runs. The first file of that name is the one: if it cannot be
 * loaded, that is an error, and no other is looked for. */
#ifndef MOCO_LIB_MODULE_FILE_H
#define MOCO_LIB_MODULE_FILE_H

#include "err.h"

enum { MODULE_NAME = 16, MODULE_PATH = 4096 + 64 };

/* How many letters at the beginning of `text` can be the name of a module, which are small letters, digits and '_'; 0
 * if there are more than a name has. They are safe in the name of a file. */
int module_name_length(const char *text);

/* Loads the module `name`, which then stays loaded until the process ends, and fills `path` with the file. MOCO_ENODEV
 * with a sentence: it cannot be loaded; or, and then `path` is "", there is no such file, which the sentence says with
 * the folders where it was looked for: "there is no libmoco_NAME.so in ...". */
moco_status module_open(void **library, char path[MODULE_PATH], const char *name, struct err *err);

#endif
