/* SPDX-License-Identifier: MIT
 *
 * machine: describes the machine of a part of a run. The last bits of a step depend on it, so that metrics.jsonl
 * records it at the beginning and at every resume. A checkpoint never does, because equal states give equal bytes. */
#ifndef MOCO_EXAMPLES_MACHINE_H
#define MOCO_EXAMPLES_MACHINE_H

#include <moco/moco.h>

#include <stddef.h>

#include "err.h"

#define MACHINE_JSON 800 /* bytes that machine_json takes at most */

struct machine {
    char device[64], isa[64], library[64];
    int64_t threads, version; /* version: of libmoco */
};

void machine_here(struct machine *machine, const moco_device_info *info);

/* As members of a JSON object: "device":"cpu",... */
void machine_json(const struct machine *machine, char *text, size_t size);

/* What the metrics.jsonl of `folder` says of the part that led to `step`; *known 0: nothing. To be called before the
 * file is locked: closing it gives up locks. */
moco_status machine_of_run(struct machine *machine, const char *folder, int64_t step, int *known, struct err *err);

/* Warns once if going on here does not give the bits of going on where the run in `folder` came to `step`. As
 * machine_of_run. */
moco_status machine_compare(const char *folder, int64_t step, const moco_device_info *here,
                            void (*warn)(const char *sentence), struct err *err);

#endif
