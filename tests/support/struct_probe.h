/* SPDX-License-Identifier: MIT
 *
 * struct_probe: the rule for structs whose size the caller's headers fixed, tried on one public call after another:
 * callers with older, smaller structs and newer, larger ones work; a size that no init macro wrote, and bytes the
 * library does not know, are refused; nothing is written past the size that the caller told. */
#ifndef MOCO_TESTS_STRUCT_PROBE_H
#define MOCO_TESTS_STRUCT_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "moco/moco.h"

union struct_block {
    uint32_t struct_size;
    double align;
    unsigned char bytes[1024];
};

struct struct_probe {
    const char *name;
    size_t size;
    void (*init)(void *given, size_t size); /* to something the call accepts */
    moco_status (*call)(void *given);
    int output; /* 1: filled by the call */
    int whole;  /* 1: no smaller struct will do */
};

void struct_probe_sizes(const struct struct_probe *probes, int count);
void struct_probe_newer_callers(const struct struct_probe *probes, int count);

#endif
