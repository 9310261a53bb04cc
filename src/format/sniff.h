/* SPDX-License-Identifier: MIT
 *
 * sniff: recognises the kind of a file by its first bytes, so that a reader of one kind can name the others. What a
 * reader would get wrong: this is for error sentences and for choosing a reader. It proves nothing. */
#ifndef MOCO_FORMAT_SNIFF_H
#define MOCO_FORMAT_SNIFF_H

#include "file.h"

enum sniff_kind { SNIFF_OTHER, SNIFF_SAFETENSORS, SNIFF_ZIP, SNIFF_TORCH_LEGACY };

#define SNIFF_BYTES 512 /* as many bytes of the beginning are looked at */

/* `name`: what it is, as "a file in ONNX form"; NULL if unknown. */
enum sniff_kind sniff_bytes(const void *bytes, size_t size, const char **name);

/* For a file that was refused as safetensors: MOCO_EFORMAT with what it is, if that is known. MOCO_OK: it is not. */
moco_status sniff_foreign(const struct file *file, struct err *err);

#endif
