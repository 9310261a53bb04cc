/* SPDX-License-Identifier: MIT
 *
 * program_buffers: the sizes of values, and the buffers that hold them. While a program is compiled, a buffer has a
 * lifetime only; it gets its offset when all buffers are known. */
#ifndef MOCO_PROGRAM_BUFFERS_H
#define MOCO_PROGRAM_BUFFERS_H

#include "backend/program/program.h"

/* Of `n` samples. */
size_t program_value_count(const struct program *p, int value, int n);
size_t program_value_bytes(const struct program *p, int value, int n);

/* A buffer that lives at `moment`; of 0 bytes: NONE. */
moco_status program_buffer(struct program *p, int *out, size_t bytes, enum program_class class, int moment,
                           struct err *err);
void program_use(struct program *p, int buffer, int moment); /* it lives then, too; NONE is fine */

/* TRAIN: which number of its window won each of max pooling's, `value`: uint16. Else NONE. */
moco_status program_winners(struct program *p, int *out, int value, int n, int moment, struct err *err);

/* Offsets in one slab, and how many bytes each class of buffers takes. */
moco_status program_lay_out(struct program *p, struct err *err);

#endif
