/* SPDX-License-Identifier: MIT
 *
 * data_rig: see data_rig.h. */
#include "support/rigs/data_rig.h"

#include <stdio.h>
#include <string.h>

static void keep_log(void *user, int level, const char *line)
{
    struct data_rig *rig = user;
    (void)level;
    size_t used = strlen(rig->log);
    snprintf(rig->log + used, sizeof rig->log - used, "%s\n", line);
}

int data_rig_make(struct data_rig *rig)
{
    moco_context_options options;
    moco_context_options_init(&options);
    options.log = keep_log;
    options.user = rig;
    rig->log[0] = 0;
    scratch_folder_make(&rig->folder);
    if (moco_context_create(&rig->context, &options) != MOCO_OK)
        return -1;
    return moco_context_memory(rig->context, &rig->live, NULL, NULL) == MOCO_OK ? 0 : -1;
}

int data_rig_free(struct data_rig *rig)
{
    int64_t live = -1;
    moco_context_memory(rig->context, &live, NULL, NULL);
    moco_context_free(rig->context);
    scratch_folder_remove(&rig->folder);
    return live == rig->live ? 0 : -1;
}
