/* SPDX-License-Identifier: MIT
 *
 * leftovers: the unfinished files that killed saves leave beside what they were to replace, NAME.tmp-PID-N
 * (lib/file.h): a checkpoint's may be as long as the checkpoint. What a reader would get wrong: a name alone does not
 * tell whether somebody still writes there. What only the holder of the folder's lock writes goes at once; of what
 * others write as well, a file goes whose process is no more. */
#ifndef MOCO_EXAMPLES_LEFTOVERS_H
#define MOCO_EXAMPLES_LEFTOVERS_H

/* `names`: files that are saved in `folder`, ended by NULL; '%' stands for digits. `locked`: no other process writes
 * them. Returns how many unfinished files were removed; one that cannot be is warned of. */
int leftovers_remove(const char *folder, const char *const *names, int locked, void (*warn)(const char *sentence));

/* The same for the folder of `path` and its last part. */
int leftovers_remove_beside(const char *path, void (*warn)(const char *sentence));

/* All that a killed train_imagenet leaves in its run folder; `locked` as above. */
int leftovers_remove_run(const char *folder, int locked, void (*warn)(const char *sentence));

/* What report, the drawn page of a run, and compare save in a run folder, whether a run goes on there or not. */
extern const char *const leftovers_of_others[];

#endif
