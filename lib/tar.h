/* SPDX-License-Identifier: MIT
 *
 * tar: walks the members of a tar archive (ustar, GNU long names, pax headers; POSIX.1-2008, "pax interchange
 * format", and GNU tar's manual, "Basic Tar Format") without reading their contents. What a reader would get wrong:
 * an archive is untrusted like any other file. Every number in it is checked against the bytes that really exist. */
#ifndef MOCO_LIB_TAR_H
#define MOCO_LIB_TAR_H

#include <stdint.h>

#include "file.h"

enum { TAR_NAME_MAX = 4096 };

enum tar_kind {
    TAR_FILE,
    TAR_FOLDER,
    TAR_OTHER /* a link, a device, a pipe */
};

struct tar_member {
    enum tar_kind kind;
    int64_t header, offset, size; /* of its first header, of its content */
    char name[TAR_NAME_MAX];      /* as stored */
};

struct tar {
    const struct file *file;
    int64_t at;
    /* After the last member: */
    int unfinished;  /* 1: the closing blocks of zeros are missing */
    int64_t ignored; /* bytes behind the closing blocks that are no archive */
};

void tar_begin(struct tar *tar, const struct file *file);

/* The next member; MOCO_EEND after the last of all archives that the file holds one after another. MOCO_EFORMAT names
 * the offset: damaged header, content that the file does not hold, a sparse file. */
moco_status tar_next(struct tar *tar, struct tar_member *member, struct err *err);

#endif
