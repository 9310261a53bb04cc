/* SPDX-License-Identifier: MIT
 *
 * scratch_folder: a temporary folder for a test's files, and files in it. Failures end the test program. */
#ifndef MOCO_TESTS_SCRATCH_FOLDER_H
#define MOCO_TESTS_SCRATCH_FOLDER_H

#include <stddef.h>

struct scratch_folder {
    char path[256];
};

void scratch_folder_make(struct scratch_folder *folder);
void scratch_folder_remove(struct scratch_folder *folder); /* and all in it */

/* One for all tests of a program: setup and teardown of its group. */
extern struct scratch_folder scratch_group;
int scratch_group_make(void **state);
int scratch_group_remove(void **state);

/* The full path of `name` in the folder, in a buffer that the fourth later call reuses. */
const char *scratch_path(const struct scratch_folder *folder, const char *name);

/* Writes a file, making the folders of `name` as needed. */
void scratch_write(const struct scratch_folder *folder, const char *name, const void *bytes, size_t size);
void scratch_make_folder(const struct scratch_folder *folder, const char *name);

#endif
