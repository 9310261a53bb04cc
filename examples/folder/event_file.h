/* SPDX-License-Identifier: MIT
 *
 * event_file: numbers for TensorBoard: events.out.tfevents.* in the run folder, one record a step. What a reader
 * would get wrong: a run that is resumed begins a new file. Its first record makes TensorBoard forget what older
 * files say from that step on. */
#ifndef MOCO_EXAMPLES_EVENT_FILE_H
#define MOCO_EXAMPLES_EVENT_FILE_H

#include <stdint.h>

#include "ctx.h"
#include "protobuf.h"

struct event_file {
    int fd; /* -1: closed */
    char path[1300];
    struct ctx *ctx;
    struct protobuf event, summary, value; /* working memory */
};

struct event_scalar {
    const char *tag;
    double value; /* not finite: left out */
};

/* `step`: the run's last one; 0: it begins. */
moco_status event_file_open(struct event_file *events, const char *folder, int64_t step, struct err *err);
moco_status event_file_put(struct event_file *events, int64_t step, const struct event_scalar *scalar, int count,
                           struct err *err);
moco_status event_file_sync(struct event_file *events, struct err *err); /* on the disk; fine when closed */
void event_file_close(struct event_file *events);                        /* also when closed or all 0 */

#endif
