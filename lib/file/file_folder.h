/* SPDX-License-Identifier: MIT
 *
 * file_folder: a folder for files that are to be written. */
#ifndef MOCO_LIB_FILE_FOLDER_H
#define MOCO_LIB_FILE_FOLDER_H

#include "ctx.h"

/* Makes the folder unless it is there (*made: 1 if it was not). Its parent must be there. MOCO_EIO. */
moco_status file_folder_make(const char *path, int *made, struct err *err);
void file_folder_remove(const char *path); /* if it is empty */

#endif
