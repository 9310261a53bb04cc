/* SPDX-License-Identifier: MIT
 *
 * sniff: see sniff.h. The table is ordered: the first row that fits is the answer. */
#include "format/sniff.h"

#include <string.h>

#define MAGIC(at, bytes, kind, name)                                                                                   \
    {                                                                                                                  \
        at, sizeof(bytes) - 1, bytes, SNIFF_##kind, name                                                               \
    }
static const struct {
    size_t at, size;
    const char *bytes;
    enum sniff_kind kind;
    const char *name;
} magics[] = {
    MAGIC(0, "PK\3\4", ZIP, "a zip archive, as torch.save writes"),
    MAGIC(0, "PK\5\6", ZIP, "an empty zip archive"),
    MAGIC(0, "\x80\2\x8a\12l\xfc\x9c\x46\xf9 j\xa8P\x19.", TORCH_LEGACY, "a file of torch.save before torch 1.6"),
    MAGIC(0, "\x93NUMPY", OTHER, "a NumPy array (.npy)"),
    MAGIC(0, "\x89HDF\r\n\x1a\n", OTHER, "an HDF5 file, as Keras writes"),
    MAGIC(0, "\x1f\x8b", OTHER, "compressed by gzip: unpack it first"),
    MAGIC(0, "\x28\xb5\x2f\xfd", OTHER, "compressed by zstd: unpack it first"),
    MAGIC(0,
          "\xfd"
          "7zXZ",
          OTHER, "compressed by xz: unpack it first"),
    MAGIC(0, "BZh", OTHER, "compressed by bzip2: unpack it first"),
    MAGIC(0, "GGUF", OTHER, "a GGUF file"),
    MAGIC(4, "TFL3", OTHER, "a TensorFlow Lite model"),
    MAGIC(0, "\xff\xd8\xff", OTHER, "a JPEG picture"),
    MAGIC(0, "\x89PNG", OTHER, "a PNG picture"),
    MAGIC(0, "%PDF", OTHER, "a PDF document"),
    MAGIC(0, "\177ELF", OTHER, "a program (ELF)"),
    MAGIC(0, "version https://git-lfs", OTHER,
          "a Git LFS pointer: the file that it stands for was not downloaded (git lfs pull)"),
};

static int lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

/* Tells whether the text is a web page: a download that needed a login often is one. */
static int is_html(const char *text, size_t size)
{
    size_t at = 0;
    static const char *const starts[] = {"<!doctype html", "<html", "<head", "<?xml"};
    while (at < size && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t'))
        at++;
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        size_t same = 0, length = strlen(starts[i]);
        while (same < length && at + same < size && lower((unsigned char)text[at + same]) == starts[i][same])
            same++;
        if (same == length)
            return 1;
    }
    return 0;
}

enum sniff_kind sniff_bytes(const void *bytes, size_t size, const char **name)
{
    const unsigned char *b = bytes;
    *name = NULL;
    if (size == 0) {
        *name = "empty";
        return SNIFF_OTHER;
    }
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++)
        if (size >= magics[i].at + magics[i].size && memcmp(b + magics[i].at, magics[i].bytes, magics[i].size) == 0) {
            *name = magics[i].name;
            return magics[i].kind;
        }
    if (size >= 262 && memcmp(b + 257, "ustar", 5) == 0)
        *name =
            "a tar archive; if it is one that torch wrote before version 0.1.10, load it with torch >= 1.6 and save "
            "it again";
    else if (is_html(bytes, size))
        *name = "a web page: what was downloaded is not the file that was meant";
    else if (size >= 9 && b[8] == '{')
        return *name = "a safetensors file", SNIFF_SAFETENSORS;
    else if (size >= 2 && b[0] == 0x80 && b[1] <= 5)
        *name = "a plain pickle, not one that torch.save wrote";
    else if (size >= 3 && b[0] == 8 && b[1] >= 1 && b[1] < 32 && (b[2] == 0x12 || b[2] == 0x3a || b[2] == 0x42))
        *name = "an ONNX model";
    else if (b[0] == '{' || b[0] == '[')
        *name = "a text in JSON";
    return SNIFF_OTHER;
}

moco_status sniff_foreign(const struct file *file, struct err *err)
{
    unsigned char head[SNIFF_BYTES];
    const char *name;
    size_t size = file->size < (int64_t)sizeof head ? (size_t)file->size : sizeof head;
    if (size == 0 || file_read_at(file, 0, head, size, NULL) != MOCO_OK)
        return MOCO_OK;
    enum sniff_kind kind = sniff_bytes(head, size, &name);
    if (kind == SNIFF_SAFETENSORS || name == NULL)
        return MOCO_OK;
    return err_set(err, MOCO_EFORMAT, "%.300s: at byte 0: it is %s, not a safetensors file%s", file->path, name,
                   kind == SNIFF_OTHER ? "" : "; moco_weights_open reads such files");
}
