/* SPDX-License-Identifier: MIT
 *
 * sniff: recognises the kind of a file by its first bytes, so that a reader of one kind can name the others. What a
 * reader would get wrong: this is for error sentences and for choosing a reader. It proves nothing. */
#ifndef MOCO_FORMAT_SNIFF_H
#define MOCO_FORMAT_SNIFF_H

#include "file/file.h"

enum sniff_kind { SNIFF_OTHER, SNIFF_SAFETENSORS, SNIFF_ZIP, SNIFF_TORCH_LEGACY };

#define SNIFF_BYTES 512 /* bytes of the beginning that are looked at */

/* Returns the kind. *name says what the file is, such as "an ONNX model"; NULL if that is not known. */
enum sniff_kind sniff_bytes(const void *bytes, size_t size, const char **name);

/* Says what a file is that was refused as safetensors: MOCO_EFORMAT with a sentence, or MOCO_OK if it is not known. */
moco_status sniff_foreign(const struct file *file, struct err *err);

#endif
