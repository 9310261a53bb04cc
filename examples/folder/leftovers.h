/* SPDX-License-Identifier: MIT
 *
 * leftovers: the unfinished files that killed saves leave beside the files that they were to replace, NAME.tmp-PID-N
 * (lib/file/file.h). Such a file may be as large as a checkpoint. What a reader would get wrong: a name alone does not
 * show whether a process still writes the file. Files that only the holder of the folder's lock writes are removed
 * at once; of files that others write as well, those whose process no longer exists. */
#ifndef MOCO_EXAMPLES_LEFTOVERS_H
#define MOCO_EXAMPLES_LEFTOVERS_H

/* `names`: files that are saved in `folder`, ended by NULL; '%' means any digits. `locked`: no other process writes
 * them. Returns how many unfinished files were removed; one that cannot be is warned of. */
int leftovers_remove(const char *folder, const char *const *names, int locked, void (*warn)(const char *sentence));

/* The same for the folder of `path` and its last part. */
int leftovers_remove_beside(const char *path, void (*warn)(const char *sentence));

/* All that a killed train_imagenet leaves in its run folder; `locked` as above. */
int leftovers_remove_run(const char *folder, int locked, void (*warn)(const char *sentence));

/* What report, the drawn page of a run, and compare save in a run folder, whether a run goes on there or not. */
extern const char *const leftovers_of_others[];

#endif
