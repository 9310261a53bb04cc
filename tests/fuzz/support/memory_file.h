/* SPDX-License-Identifier: MIT
 *
 * memory_file: one file in memory that has a path, which every input of a fuzz target fills anew: what reads files is
 * fuzzed through the calls that open them. Linux alone. */
#ifndef MOCO_FUZZ_MEMORY_FILE_H
#define MOCO_FUZZ_MEMORY_FILE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int memory_file_fd = -1;

static void memory_file_cut(size_t size)
{
    if (ftruncate(memory_file_fd, (off_t)size) != 0)
        exit(1);
}

/* The path of a file that holds `bytes`. */
static const char *memory_file(const uint8_t *bytes, size_t size)
{
    static char path[64];
    if (memory_file_fd < 0) {
        memory_file_fd = memfd_create("input", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", memory_file_fd);
    }
    memory_file_cut(0);
    if (pwrite(memory_file_fd, bytes, size, 0) != (ssize_t)size)
        exit(1);
    return path;
}

#endif
