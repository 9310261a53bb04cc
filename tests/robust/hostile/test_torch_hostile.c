/* SPDX-License-Identifier: MIT
 *
 * test_torch_hostile: both containers of torch.save, right but for one thing: fields of the zip archive that lie,
 * members that are missing, twice, in another place or of another size; the five pickles of the legacy form; tensors
 * that do not lie in their storage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "support/files/hostile_weights.h"

static const char good[] = P("}X\1\0\0\0w" P_GOOD "s");
static const float four[4] = {1, 2, 3, 4};

/* ---- fields of the zip archive ---- */

enum where { LOCAL, CONTENT, DESCRIPTOR, CENTRAL, END64, LOCATOR, END };

struct change {
    const char *what;
    enum where where;
    int member; /* 0 data.pkl, 1 data/0, 2 version */
    int at, bytes;
    uint64_t value;
    const char *reason;
};

static size_t place_of(const struct zip_places *p, const struct change *c)
{
    switch (c->where) {
    case LOCAL:
        return p->local[c->member];
    case CONTENT:
        return p->content[c->member];
    case DESCRIPTOR:
        return p->descriptor[c->member];
    case CENTRAL:
        return p->central[c->member];
    case END64:
        return p->end64;
    case LOCATOR:
        return p->locator;
    default:
        return p->end;
    }
}

static void fields(void **state)
{
    (void)state;
    static const struct change changes[] = {
        {"nothing", CONTENT, 2, 0, 1, '3', NULL},
        {"local mark", LOCAL, 1, 0, 1, 'Q', "member a/data/0 of the zip archive has no local header"},
        {"first local mark", LOCAL, 0, 3, 1, 5, "no file of a kind that is known"},
        {"local flags: encrypted", LOCAL, 1, 6, 2, 0x809, "has other flags"},
        {"local flags: no descriptor", LOCAL, 1, 6, 2, 0x800, "has other flags"},
        {"local method", LOCAL, 1, 8, 2, 8, "has other flags or another method"},
        {"local CRC", LOCAL, 1, 14, 4, 77, "has another CRC-32 in its local header"},
        {"local stored size", LOCAL, 1, 18, 4, 15, "has another size in its local header"},
        {"local size", LOCAL, 1, 22, 4, 17, "has another size in its local header"},
        {"local size of 64 bits, without", LOCAL, 1, 22, 4, 0xffffffff, "lacks its 64-bit sizes in its local header"},
        {"local name longer", LOCAL, 1, 26, 2, 9, "has another name in its local header"},
        {"local name of 65535", LOCAL, 1, 26, 2, 0xffff, "has another name in its local header"},
        {"local name", LOCAL, 1, 30, 1, 'b', "has another name in its local header"},
        {"local extra longer", LOCAL, 1, 28, 2, 9, "is not followed by a descriptor alone"},
        {"local extra of 65535", LOCAL, 1, 28, 2, 0xffff, "has a local header that is longer than the archive"},
        {"descriptor's mark", DESCRIPTOR, 1, 0, 1, 'Q', "has a descriptor that says something else"},
        {"descriptor's CRC", DESCRIPTOR, 1, 4, 1, 0, "has a descriptor that says something else"},
        {"descriptor's size", DESCRIPTOR, 1, 8, 1, 17, "has a descriptor that says something else"},
        {"descriptor's other size", DESCRIPTOR, 1, 12, 1, 17, "has a descriptor that says something else"},
        {"central mark", CENTRAL, 1, 0, 1, 'Q', "an entry of the zip archive's directory is damaged"},
        {"central flags: encrypted", CENTRAL, 1, 8, 2, 0x809, "is encrypted"},
        {"central flags: unknown", CENTRAL, 1, 8, 2, 0x828, "has flags that are not known"},
        {"deflate", CENTRAL, 1, 10, 2, 8, "is compressed; only stored members are read"},
        {"zstd", CENTRAL, 1, 10, 2, 93, "is compressed; only stored members are read"},
        {"central CRC", CENTRAL, 1, 16, 1, 0, "has a descriptor that says something else"},
        {"central stored size", CENTRAL, 1, 20, 4, 15, "is stored, but has two sizes"},
        {"central size", CENTRAL, 1, 24, 4, 0x7fffffff, "is stored, but has two sizes"},
        {"central size of 64 bits, without", CENTRAL, 1, 24, 4, 0xffffffff, "lacks its 64-bit sizes"},
        {"central name of 0", CENTRAL, 1, 28, 2, 0, "has a name that is empty"},
        {"central name too long", CENTRAL, 2, 28, 2, 10, "longer than the directory"},
        {"central name of 65535", CENTRAL, 1, 28, 2, 0xffff, "longer than the directory"},
        {"central extra too long", CENTRAL, 2, 30, 2, 1, "longer than the directory"},
        {"central comment too long", CENTRAL, 2, 32, 2, 1, "longer than the directory"},
        {"another part", CENTRAL, 1, 34, 2, 1, "lies in another part of the archive"},
        {"central offset beyond", CENTRAL, 1, 42, 4, 0x7fffffff, "reach beyond the archive's contents"},
        {"central offset of another", CENTRAL, 1, 42, 4, 1, "lies on bytes of the next one"},
        {"absolute name", CENTRAL, 1, 46, 1, '/', "no path inside the archive"},
        {"name with a backslash", CENTRAL, 1, 47, 1, '\\', "no path inside the archive"},
        {"name with NUL", CENTRAL, 1, 47, 1, 0, "no path inside the archive"},
        {"name with ..", CENTRAL, 1, 46, 4, 0x612f2e2e, "no path inside the archive"},
        {"name with .", CENTRAL, 1, 46, 2, 0x2f2e, "no path inside the archive"},
        {"64-bit end mark", END64, 0, 0, 1, 'Q', "the 64-bit end record of the zip archive is damaged"},
        {"64-bit end size", END64, 0, 4, 8, 45, "the 64-bit end record of the zip archive is damaged"},
        {"64-bit end part", END64, 0, 16, 4, 1, "the 64-bit end record of the zip archive is damaged"},
        {"64-bit counts", END64, 0, 24, 8, 4, "the 64-bit end record of the zip archive is damaged"},
        {"64-bit count", END64, 0, 32, 8, 4, "the 64-bit end record of the zip archive is damaged"},
        {"64-bit size", END64, 0, 40, 8, 1, "the two end records of the zip archive disagree"},
        {"64-bit size of 2^64-1", END64, 0, 40, 8, UINT64_MAX, "the two end records of the zip archive disagree"},
        {"64-bit offset", END64, 0, 48, 8, 1, "the two end records of the zip archive disagree"},
        {"locator's mark", LOCATOR, 0, 0, 1, 'Q', "does not end where its end record begins"},
        {"locator's part", LOCATOR, 0, 4, 4, 1, "the zip archive is one part of several"},
        {"locator's offset", LOCATOR, 0, 8, 8, 0, "is not where it is said to be"},
        {"locator's parts", LOCATOR, 0, 16, 4, 2, "the zip archive is one part of several"},
        {"end mark", END, 0, 0, 1, 'Q', "does not end here: it is cut off, or something follows"},
        {"end part", END, 0, 4, 2, 1, "the zip archive is one part of several"},
        {"end part of the directory", END, 0, 6, 2, 1, "the zip archive is one part of several"},
        {"end count here", END, 0, 8, 2, 2, "the zip archive is one part of several"},
        {"end counts", END, 0, 8, 4, 0x20002, "the two end records of the zip archive disagree"},
        {"end size", END, 0, 12, 4, 100, "the two end records of the zip archive disagree"},
        {"end offset", END, 0, 16, 4, 100, "the two end records of the zip archive disagree"},
        {"end comment", END, 0, 20, 2, 5, "does not end here: it is cut off, or something follows"},
        {"end numbers left to the 64-bit record", END, 0, 8, 8, UINT64_MAX, NULL},
        {"a bit of a float", CONTENT, 1, 3, 1, 0x3e, "!member a/data/0 of the zip archive is damaged: its CRC-32 is"},
        {"a bit of the pickle", CONTENT, 0, 9, 1, 'x',
         "member a/data.pkl of the zip archive is damaged: its CRC-32 is"},
        {"a bit of the version", CONTENT, 2, 0, 1, '4', "member a/version of the zip archive is damaged"},
    };
    struct blob file = {0};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct zip_places places;
        torch_zip_bytes(&file, good, sizeof good - 1, &places);
        blob_set(&file, place_of(&places, &changes[i]) + (size_t)changes[i].at, changes[i].value, changes[i].bytes);
        hostile_check(changes[i].what, file.at, file.size, changes[i].reason);
    }
    blob_free(&file);
}

/* Two fields at once, where one alone is refused for another reason. */
static void pairs_of_fields(void **state)
{
    (void)state;
    struct blob file = {0};
    struct zip_places p;
#define MAKE torch_zip_bytes(&file, good, sizeof good - 1, &p)
    MAKE; /* 64-bit numbers that lie in full */
    blob_set(&file, p.end + 8, UINT64_MAX, 8);
    blob_set(&file, p.end + 16, UINT32_MAX, 4);
    blob_set(&file, p.end64 + 24, UINT64_MAX, 8);
    blob_set(&file, p.end64 + 32, UINT64_MAX, 8);
    hostile_check("2^64-1 members", file.at, file.size, "said to be longer than the file");
    blob_set(&file, p.end64 + 24, 100, 8);
    blob_set(&file, p.end64 + 32, 100, 8);
    hostile_check("100 members", file.at, file.size, "more members than its directory has bytes for");
    blob_set(&file, p.end64 + 24, 2, 8);
    blob_set(&file, p.end64 + 32, 2, 8);
    hostile_check("2 members of 3", file.at, file.size, "more entries than it is said to have");
    blob_set(&file, p.end64 + 24, 3, 8);
    blob_set(&file, p.end64 + 32, 3, 8);
    blob_set(&file, p.end64 + 40, UINT64_MAX, 8);
    hostile_check("a directory of 2^64-1 bytes", file.at, file.size, "said to be longer than the file");
    blob_set(&file, p.end64 + 40, 10, 8);
    hostile_check("a directory of 10 bytes", file.at, file.size, "does not end where its end record begins");
    MAKE; /* both sizes alike, and too long */
    blob_set(&file, p.central[1] + 20, 0x7fffffff, 4);
    blob_set(&file, p.central[1] + 24, 0x7fffffff, 4);
    hostile_check("a member of 2 GiB", file.at, file.size, "reach beyond the archive's contents");
    MAKE;
    blob_set(&file, p.central[1] + 20, 17, 4);
    blob_set(&file, p.central[1] + 24, 17, 4);
    hostile_check("a member one byte longer", file.at, file.size, "is not followed by a descriptor alone");
    MAKE;
    blob_set(&file, p.central[2] + 42, p.local[1], 4);
    hostile_check("two members on the same bytes", file.at, file.size, "lies on bytes of the next one");
    MAKE;
    blob_set(&file, p.central[0] + 42, p.local[1], 4);
    hostile_check("nothing at the beginning", file.at, file.size, "does not begin with its first member");
    MAKE;
    memcpy(file.at + p.local[2] + 30, "a/data/00", 9);
    memcpy(file.at + p.central[2] + 46, "a/data/00", 9);
    hostile_check("no version", file.at, file.size, "has no member \"version\"");
    MAKE;
    memcpy(file.at + p.local[1] + 30, "a/data/9", 8);
    memcpy(file.at + p.central[1] + 46, "a/data/9", 8);
    hostile_check("no data/0", file.at, file.size, "storage 0 has no member in data/");
    MAKE;
    memcpy(file.at + p.local[0] + 30, "a/data.pkk", 10);
    memcpy(file.at + p.central[0] + 46, "a/data.pkk", 10);
    hostile_check("no data.pkl", file.at, file.size, "a zip archive without a data.pkl");
    MAKE;
    memcpy(file.at + p.local[1] + 30, "b", 1);
    memcpy(file.at + p.central[1] + 46, "b", 1);
    hostile_check("two folders", file.at, file.size, "outside of the folder that data.pkl is in");
    MAKE;
    memcpy(file.at + p.local[1] + 30, "a/code/x", 8);
    memcpy(file.at + p.central[1] + 46, "a/code/x", 8);
    hostile_check("TorchScript", file.at, file.size, "a TorchScript file, a program and not weights");
    blob_free(&file);
#undef MAKE
}

/* The file as a whole: cut, with something before it, behind it, and read from both ends. */
static void whole_files(void **state)
{
    (void)state;
    struct blob file = {0}, other = {0};
    struct zip_places p;
    torch_zip_bytes(&file, good, sizeof good - 1, &p);
    for (size_t size = 64; size < file.size; size += 64)
        hostile_check("cut short", file.at, size, "does not end here: it is cut off");
    hostile_check("the last byte is missing", file.at, file.size - 1, "does not end here: it is cut off");
    hostile_check("four bytes", file.at, 4, "the file ends before a zip archive can");
    blob_add(&other, "#!/bin/sh\nexit\n", 15);
    blob_add(&other, file.at, file.size);
    hostile_check("a program before it", other.at, other.size, "no file of a kind that is known");
    other.size = 0;
    blob_add(&other, "PK\3\4", 4);
    blob_add(&other, file.at, file.size);
    hostile_check("four bytes before it", other.at, other.size, "is not where it is said to be");
    other.size = 0;
    blob_add(&other, file.at, file.size);
    blob_add(&other, "\0", 1);
    hostile_check("a byte behind it", other.at, other.size, "or something follows it");
    other.size = 0;
    blob_add(&other, file.at, file.size);
    blob_add(&other, file.at + p.end, 22);
    hostile_check("the end record twice", other.at, other.size, "does not end where its end record begins");
    blob_free(&file);
    blob_free(&other);
}

/* Archives of other members; what torch accepts is accepted. */
static void members(void **state)
{
    (void)state;
    const struct zip_part pickle = {"a/data.pkl", good, sizeof good - 1, 0};
    const struct zip_part data = {"a/data/0", four, 16, 0}, version = {"a/version", "3\n", 2, 0};
    const struct {
        const char *what, *reason;
        struct zip_part parts[6];
    } rows[] = {
        {"another order", NULL, {version, data, pickle}},
        {"sizes in the local headers",
         NULL,
         {{"a/data.pkl", good, sizeof good - 1, 1}, {"a/data/0", four, 16, 1}, {"a/version", "3\n", 2, 1}}},
        {"members of later versions",
         NULL,
         {pickle,
          {"a/byteorder", "little", 6, 0},
          data,
          version,
          {"a/.data/serialization_id", "1234", 4, 0},
          {"a/.format_version", "1", 1, 0}}},
        {"a folder's own member", NULL, {pickle, {"a/data/", "", 0, 1}, data, version}},
        {"a storage that nobody uses", NULL, {pickle, data, {"a/data/1", four, 16, 0}, version}},
        {"version without newline", NULL, {pickle, data, {"a/version", "10", 2, 0}}},
        {"big-endian", "its numbers are big-endian", {pickle, data, version, {"a/byteorder", "big", 3, 0}}},
        {"another byteorder", "its byteorder is neither", {pickle, data, version, {"a/byteorder", "middle", 6, 0}}},
        {"a long byteorder",
         "longer than 31 bytes",
         {pickle, data, version, {"a/byteorder", "little                                ", 36, 0}}},
        {"version 0", "is not one from 1 to 10", {pickle, data, {"a/version", "0\n", 2, 0}}},
        {"version 11", "is not one from 1 to 10", {pickle, data, {"a/version", "11", 2, 0}}},
        {"version x", "is not one from 1 to 10", {pickle, data, {"a/version", "x", 1, 0}}},
        {"version 3 and more", "is not one from 1 to 10", {pickle, data, {"a/version", "3\n\n", 3, 0}}},
        {"an empty version", "is not one from 1 to 10", {pickle, data, {"a/version", "", 0, 1}}},
        {"a storage of 12 bytes",
         "has 12 bytes; 4 elements of 4 bytes were to be there",
         {pickle, {"a/data/0", four, 12, 0}, version}},
        {"a storage of 17 bytes",
         "has 17 bytes; 4 elements of 4 bytes were to be there",
         {pickle, {"a/data/0", "0123456789abcdef", 17, 0}, version}},
        {"an empty storage", "has 0 bytes; 4 elements", {pickle, {"a/data/0", "", 0, 1}, version}},
        {"a member twice", "is there twice", {pickle, data, data, version}},
        {"data.pkl twice",
         "has a data.pkl in two folders",
         {pickle, {"b/data.pkl", good, sizeof good - 1, 0}, data, version}},
        {"a member beside the folder", "outside of the folder", {pickle, data, version, {"readme", "x", 1, 0}}},
        {"an npz", "a NumPy archive (.npz)", {{"conv1.npy", "\x93NUMPY", 6, 0}}},
        {"a Keras model", "a Keras model", {{"config.json", "{}", 2, 0}, {"model.weights.h5", "x", 1, 0}}},
        {"a document", "without a data.pkl", {{"[Content_Types].xml", "<", 1, 0}}},
        {"data.pkl without a folder", "without a data.pkl", {{"data.pkl", good, sizeof good - 1, 0}}},
        {"no members", "an empty zip archive", {{NULL, NULL, 0, 0}}},
    };
    struct blob file = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct zip_places places;
        int count = 0;
        while (count < 6 && rows[i].parts[count].name != NULL)
            count++;
        zip_bytes(&file, rows[i].parts, count, &places);
        if (count == 0) { /* as an empty archive is: no 64-bit records */
            memmove(file.at, file.at + places.end, 22);
            file.size = 22;
            blob_set(&file, 12, 0, 8);
        }
        hostile_check(rows[i].what, file.at, file.size, rows[i].reason);
    }
    blob_free(&file);
}

/* ---- tensors against their storages ---- */

struct row {
    const char *what, *pickle;
    size_t size;
    const char *reason;
};
#define ROW(what, storage, offset, shape, stride, reason)                                                              \
    {                                                                                                                  \
        what, P("}X\1\0\0\0w" P_TENSOR(storage, offset, shape, stride) "s"),                                           \
            sizeof(P("}X\1\0\0\0w" P_TENSOR(storage, offset, shape, stride) "s")) - 1, reason                          \
    }
#define HUGE_ "\x8a\10\xff\xff\xff\xff\xff\xff\xff\x7f" /* 2^63-1 */
#define MINUS "J\xff\xff\xff\xff"

static void tensors(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("as it should be", P_STORAGE, "K\0", "K\2K\2\x86", "K\2K\1\x86", NULL),
        ROW("transposed", P_STORAGE, "K\0", "K\2K\2\x86", "K\1K\2\x86", NULL),
        ROW("the last element", P_STORAGE, "K\3", ")", ")", NULL),
        ROW("no elements at the end", P_STORAGE, "K\4", "K\0\x85", "K\1\x85", NULL),
        ROW("no elements, absurd strides", P_STORAGE, "K\0", "K\0K\7\x86", HUGE_ HUGE_ "\x86", NULL),
        ROW("an absurd stride that is never taken", P_STORAGE, "K\0", "K\2K\2K\1\x87", "K\1K\2" HUGE_ "\x87", NULL),
        ROW("lists for tuples", P_STORAGE, "K\0", "](K\2K\2e", "](K\2K\1e", NULL),
        ROW("torch.Size", P_STORAGE, "K\0", "ctorch\nSize\nK\4\x85\x85R", "K\1\x85", NULL),
        ROW("windows that overlap", P_STORAGE, "K\0", "K\2K\2\x86", "K\1K\1\x86", NULL),
        ROW("offset at the end", P_STORAGE, "K\4", ")", ")", "tensor w reaches beyond the end of its storage"),
        ROW("offset behind the end", P_STORAGE, "K\5", "K\0\x85", "K\1\x85", "tensor w begins behind the end"),
        ROW("offset of -1", P_STORAGE, MINUS, ")", ")", "tensor w has an offset that is no integer from 0 on"),
        ROW("offset of 2^63-1", P_STORAGE, HUGE_, ")", ")", "tensor w begins behind the end"),
        ROW("offset that is a text", P_STORAGE,
            "X\1\0\0\0"
            "0",
            ")", ")", "has an offset that is no integer"),
        ROW("offset that is True", P_STORAGE, "\x88", ")", ")", "has an offset that is no integer"),
        ROW("one row too many", P_STORAGE, "K\0", "K\2K\2\x86", "K\3K\1\x86", "reaches beyond the end of its storage"),
        ROW("offset and a row", P_STORAGE, "K\1", "K\2K\2\x86", "K\2K\1\x86", "reaches beyond the end of its storage"),
        ROW("stride of 2^63-1", P_STORAGE, "K\0", "K\2K\2\x86", HUGE_ "K\1\x86", "reaches beyond the end"),
        ROW("strides whose sum wraps", P_STORAGE, "K\1", "K\2K\2\x86", HUGE_ HUGE_ "\x86", "reaches beyond the end"),
        ROW("stride of -1", P_STORAGE, "K\3", "K\2\x85", MINUS "\x85", "has strides that are not as many integers"),
        ROW("fewer strides", P_STORAGE, "K\0", "K\2K\2\x86", "K\2\x85", "has strides that are not as many integers"),
        ROW("more strides", P_STORAGE, "K\0", "K\4\x85", "K\2K\1\x86", "has strides that are not as many integers"),
        ROW("strides that are None", P_STORAGE, "K\0", "K\4\x85", "N", "has strides that are not as many integers"),
        ROW("size of -1", P_STORAGE, "K\0", MINUS "\x85", "K\1\x85", "has sizes that are not integers"),
        ROW("sizes that are a dict", P_STORAGE, "K\0", "}", ")", "has sizes that are not integers"),
        ROW("a size that is a float", P_STORAGE, "K\0", "G\x3f\xf0\0\0\0\0\0\0\x85", "K\1\x85",
            "has sizes that are not integers"),
        ROW("a size of 80 bits", P_STORAGE, "K\0",
            "\x8a\12"
            "0123456789\x85",
            "K\1\x85", "has sizes that are not integers"),
        ROW("2^63-1 times 2", P_STORAGE, "K\0", HUGE_ "K\2\x86", "K\0K\0\x86", "more elements than 63 bits"),
        ROW("2^32 times 2^32", P_STORAGE, "K\0", "\x8a\5\0\0\0\0\1\x8a\5\0\0\0\0\1\x86", "K\0K\0\x86",
            "more elements than 63 bits"),
        ROW("numel of 5", P_CLASS("Float", "K\5"), "K\0", "K\1\x85", "K\1\x85", "has 16 bytes; 5 elements of 4 bytes"),
        ROW("numel of -1", P_CLASS("Float", MINUS), "K\0", ")", ")", "a number of elements that is no integer"),
        ROW("numel of 2^63-1", P_CLASS("Float", HUGE_), "K\0", ")", ")", "has more bytes than a file can"),
        ROW("numel None", P_CLASS("Float", "N"), "K\0", ")", ")", "a number of elements that is no integer"),
        ROW("f64 of four", P_CLASS("Double", "K\4"), "K\0", ")", ")", "has 16 bytes; 4 elements of 8 bytes"),
        ROW("two f64", P_CLASS("Double", "K\2"), "K\0", "K\2\x85", "K\1\x85", NULL),
        ROW("16 bools", P_CLASS("Bool", "K\20"), "K\0", "K\20\x85", "K\1\x85", NULL),
        ROW("a view of a storage",
            "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
            "0X\3\0\0\0cpuK\4)tQ",
            "K\0", ")", ")", "storage 0 is a view of another"),
        ROW("four fields",
            "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
            "0X\3\0\0\0cputQ",
            "K\0", ")", ")", "is no storage of torch"),
        ROW("no tuple",
            "X\1\0\0\0"
            "0Q",
            "K\0", ")", ")", "is no storage of torch"),
        ROW("no storage",
            "(X\7\0\0\0modulesctorch\nFloatStorage\nX\1\0\0\0"
            "0X\3\0\0\0cpuK\4tQ",
            "K\0", ")", ")", "is no storage of torch"),
        ROW("a class that is a text",
            "(X\7\0\0\0storageX\1\0\0\0xX\1\0\0\0"
            "0X\3\0\0\0cpuK\4tQ",
            "K\0", ")", ")", "whose class is no name"),
        ROW("a key that is a number", "(X\7\0\0\0storagectorch\nFloatStorage\nK\0X\3\0\0\0cpuK\4tQ", "K\0", ")", ")",
            "whose key is no text"),
        ROW("an empty key", "(X\7\0\0\0storagectorch\nFloatStorage\nX\0\0\0\0X\3\0\0\0cpuK\4tQ", "K\0", ")", ")",
            "whose key is no text of 1 to 64 bytes"),
        ROW("a key that leaves", "(X\7\0\0\0storagectorch\nFloatStorage\nX\4\0\0\0../0X\3\0\0\0cpuK\4tQ", "K\0", ")",
            ")", "storage ../0 has no member"),
        ROW("a place that is None",
            "(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0"
            "0NK\4tQ",
            "K\0", ")", ")", "has a place that is no text"),
    };
    struct blob file = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct zip_places places;
        torch_zip_bytes(&file, rows[i].pickle, rows[i].size, &places);
        hostile_check(rows[i].what, file.at, file.size, rows[i].reason);
    }
    static const char twice[] =
        P("}(X\1\0\0\0w" P_GOOD "X\1\0\0\0x" P_TENSOR(P_CLASS("Int", "K\4"), "K\0", ")", ")") "u");
    struct zip_places places;
    torch_zip_bytes(&file, twice, sizeof twice - 1, &places);
    hostile_check("one storage of two classes", file.at, file.size, "storage 0 is described twice, and not alike");
    static const char few[] = P("}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n" P_STORAGE "\x85Rs");
    torch_zip_bytes(&file, few, sizeof few - 1, &places);
    hostile_check("one argument", file.at, file.size, "another number of arguments than torch gives");
    static const char bare[] = P("}X\1\0\0\0wctorch._utils\n_rebuild_parameter\n)Rs");
    torch_zip_bytes(&file, bare, sizeof bare - 1, &places);
    hostile_check("a parameter of nothing", file.at, file.size, "is a parameter of nothing");
    blob_free(&file);
}

/* ---- the legacy container ---- */

#define MAGIC "\x80\2\x8a\12l\xfc\x9c\x46\xf9 j\xa8P\x19."
#define VERSION P("M\xe9\3")
#define SIZES(short_, int_, long_)                                                                                     \
    "X\12\0\0\0type_sizes}(X\5\0\0\0shortK" short_ "X\3\0\0\0intK" int_ "X\4\0\0\0longK" long_ "u"
#define SYSTEM(version, endian, sizes)                                                                                 \
    P("}(X\20\0\0\0protocol_versionM" version "X\15\0\0\0little_endian" endian sizes "u")
#define GOOD_SYSTEM SYSTEM("\xe9\3", "\x88", SIZES("\2", "\4", "\4"))
#define OBJECT P("}X\1\0\0\0w" P_GOOD "s")
#define KEYS                                                                                                           \
    P("](X\1\0\0\0"                                                                                                    \
      "0e")
#define DATA                                                                                                           \
    "\4\0\0\0\0\0\0\0"                                                                                                 \
    "0123456789abcdef"

struct legacy {
    const char *what, *bytes;
    size_t size;
    const char *reason;
};
#define LEGACY(what, bytes, reason)                                                                                    \
    {                                                                                                                  \
        what, bytes, sizeof(bytes) - 1, reason                                                                         \
    }

static void legacy(void **state)
{
    (void)state;
#define HEAD MAGIC VERSION GOOD_SYSTEM
    static const struct legacy rows[] = {
        LEGACY("as it should be", HEAD OBJECT KEYS DATA, NULL),
        LEGACY("another magic", "\x80\2\x8a\12m\xfc\x9c\x46\xf9 j\xa8P\x19." VERSION, "a plain pickle"),
        LEGACY("the magic alone", MAGIC, "goes on where its bytes end"),
        LEGACY("version 1002", MAGIC P("M\xea\3") GOOD_SYSTEM OBJECT KEYS DATA, "the version of the file is not 1001"),
        LEGACY("version None", MAGIC P("N") GOOD_SYSTEM OBJECT KEYS DATA, "the version of the file is not 1001"),
        LEGACY("version text",
               MAGIC P("X\4\0\0\0"
                       "1001") GOOD_SYSTEM OBJECT KEYS DATA,
               "the version of the file is not 1001"),
        LEGACY("no system", MAGIC VERSION, "goes on where its bytes end"),
        LEGACY("a system that is a list", MAGIC VERSION P("]") OBJECT KEYS DATA, "is no dict"),
        LEGACY("an empty system", MAGIC VERSION P("}") OBJECT KEYS DATA, "has no protocol_version 1001"),
        LEGACY("another protocol_version",
               MAGIC VERSION SYSTEM("\xea\3", "\x88", SIZES("\2", "\4", "\4")) OBJECT KEYS DATA,
               "has no protocol_version 1001"),
        LEGACY("big-endian", MAGIC VERSION SYSTEM("\xe9\3", "\x89", SIZES("\2", "\4", "\4")) OBJECT KEYS DATA,
               "its numbers are big-endian"),
        LEGACY("endian None", MAGIC VERSION SYSTEM("\xe9\3", "N", SIZES("\2", "\4", "\4")) OBJECT KEYS DATA,
               "does not say its little_endian"),
        LEGACY("no type_sizes", MAGIC VERSION SYSTEM("\xe9\3", "\x88", "") OBJECT KEYS DATA, "has no type_sizes"),
        LEGACY("type_sizes None", MAGIC VERSION SYSTEM("\xe9\3", "\x88", "X\12\0\0\0type_sizesN") OBJECT KEYS DATA,
               "has no type_sizes"),
        LEGACY("shorts of 4", MAGIC VERSION SYSTEM("\xe9\3", "\x88", SIZES("\4", "\4", "\4")) OBJECT KEYS DATA,
               "are not short 2, int 4, long 4"),
        LEGACY("ints of 8", MAGIC VERSION SYSTEM("\xe9\3", "\x88", SIZES("\2", "\10", "\4")) OBJECT KEYS DATA,
               "are not short 2, int 4, long 4"),
        LEGACY("longs of 8", MAGIC VERSION SYSTEM("\xe9\3", "\x88", SIZES("\2", "\4", "\10")) OBJECT KEYS DATA,
               "are not short 2, int 4, long 4"),
        LEGACY("no object", HEAD, "goes on where its bytes end"),
        LEGACY("no keys", HEAD OBJECT, "goes on where its bytes end"),
        LEGACY("keys that are a dict", HEAD OBJECT P("}") DATA, "the list of storages is no list"),
        LEGACY("no key", HEAD OBJECT P("]"), "storage 0 is not in the list of storages"),
        LEGACY("a key that is a number", HEAD OBJECT P("](K\0e") DATA, "something that is no text"),
        LEGACY("a key twice",
               HEAD OBJECT P("](X\1\0\0\0"
                             "0X\1\0\0\0"
                             "0e") DATA DATA,
               "storage 0 is twice in the list"),
        LEGACY("an extra key",
               HEAD OBJECT P("](X\1\0\0\0"
                             "0X\1\0\0\0"
                             "1e") DATA DATA,
               "that no tensor uses"),
        LEGACY("another key",
               HEAD OBJECT P("](X\1\0\0\0"
                             "1e") DATA,
               "that no tensor uses"),
        LEGACY("numel 3",
               HEAD OBJECT KEYS "\3\0\0\0\0\0\0\0"
                                "0123456789abcdef",
               "said to have 3 elements here and 4 in the pickle"),
        LEGACY("numel -1",
               HEAD OBJECT KEYS "\xff\xff\xff\xff\xff\xff\xff\xff"
                                "0123456789abcdef",
               "said to have -1 elements here"),
        LEGACY("numel 2^63",
               HEAD OBJECT KEYS "\0\0\0\0\0\0\0\x80"
                                "0123456789abcdef",
               "said to have -9223372036854775808 elements"),
        LEGACY("no numel", HEAD OBJECT KEYS "\4\0\0", "the file ends before its last storage"),
        LEGACY("no data", HEAD OBJECT KEYS "\4\0\0\0\0\0\0\0", "the file ends before the storage that begins here"),
        LEGACY("data one byte short",
               HEAD OBJECT KEYS "\4\0\0\0\0\0\0\0"
                                "0123456789abcde",
               "the file ends before the storage"),
        LEGACY("a byte behind", HEAD OBJECT KEYS DATA "x", "something follows the last storage"),
        LEGACY("an unknown class", HEAD P("}X\1\0\0\0w" P_TENSOR(P_CLASS("Odd", "K\4"), "K\0", ")", ")") "s") KEYS DATA,
               "is of a class that is not known here"),
        LEGACY("complex numbers, passed over",
               HEAD P("}X\1\0\0\0w" P_TENSOR(P_CLASS("ComplexFloat", "K\2"), "K\0", ")", ")") "s") KEYS
               "\2\0\0\0\0\0\0\0"
               "0123456789abcdef",
               NULL),
        LEGACY("a pickled module", HEAD P("c__main__\nNet\n)\x81}b") P("]"),
               "a pickled object of a program (__main__.Net)"),
        LEGACY("os.system beside", HEAD P_DICT("X\1\0\0\0xcos\nsystem\nX\4\0\0\0true\x85R") KEYS DATA, NULL),
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        hostile_check(rows[i].what, rows[i].bytes, rows[i].size, rows[i].reason);
    static const char whole[] = HEAD OBJECT KEYS DATA;
    for (size_t size = 16; size < sizeof whole - 1; size++) /* each of the pickles, and what follows, cut anywhere */
        hostile_check("cut short", whole, size, "");
}

static void enough(void **state)
{
    (void)state;
    printf("%d files\n", hostile_files);
    assert_true(hostile_files >= 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields),  cmocka_unit_test(pairs_of_fields), cmocka_unit_test(whole_files),
        cmocka_unit_test(members), cmocka_unit_test(tensors),         cmocka_unit_test(legacy),
        cmocka_unit_test(enough),
    };
    return cmocka_run_group_tests(tests, hostile_set_up, hostile_tear_down);
}
