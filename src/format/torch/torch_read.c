/* SPDX-License-Identifier: MIT
 *
 * torch_read: opens both containers of torch.save: where the pickle is, and where the bytes of each storage are. */
#include "format/torch/torch_read.h"
#include "utf8.h"

#include <string.h>

#define SLACK ((int64_t)512 << 10) /* bytes that tables may take beyond the pickle's length */
enum { PIECE = 64 << 10, MAGIC = 15, ROOT_MAX = 900 };

static int64_t get64(const unsigned char *bytes)
{
    uint64_t value = 0;
    for (int i = 8; i-- > 0;)
        value = value << 8 | bytes[i];
    int64_t result;
    memcpy(&result, &value, sizeof result);
    return result;
}

/* Reads the main pickle and lists the storages that it refers to. */
static moco_status read_pickle(struct torch_file *t, int64_t begin, int64_t limit, int64_t *end, struct err *err)
{
    TRY(pickle_read(&t->pickle, &t->file, begin, limit, end, err));
    t->budget = (int64_t)t->pickle.size + SLACK;
    return torch_storages_list(t, err);
}

static moco_status opened(struct torch_file *t, moco_status status)
{
    if (status != MOCO_OK)
        torch_close(t);
    return status;
}

/* ---- zip ---- */

static moco_status wrong(const struct torch_file *t, int64_t at, struct err *err, const char *what)
{
    return err_set(err, MOCO_EFORMAT, "%.300s: at byte %lld: %s", t->file.path, (long long)at, what);
}

/* Says what an archive is that has no pickle of torch. */
static moco_status not_torch(const struct torch_file *t, struct err *err)
{
    int arrays = 0, keras = 0;
    for (int64_t i = 0; i < t->zip.count; i++) {
        arrays += utf8_ends_in(t->zip.members[i].name, ".npy");
        keras += utf8_ends_in(t->zip.members[i].name, ".weights.h5");
    }
    return wrong(t, 0, err,
                 t->zip.count == 0 ? "it is an empty zip archive"
                 : arrays > 0      ? "it is a NumPy archive (.npz), not a file of torch.save"
                 : keras > 0       ? "it is a Keras model, not a file of torch.save"
                                   : "it is a zip archive without a data.pkl, not a file of torch.save");
}

/* Finds the one folder that all members are in, with its '/'. */
static moco_status find_root(const struct torch_file *t, char root[ROOT_MAX + 1], struct err *err)
{
    const struct zip_member *pickle = NULL;
    for (int64_t i = 0; i < t->zip.count; i++) {
        const struct zip_member *m = &t->zip.members[i];
        const char *slash = strchr(m->name, '/');
        if (slash == NULL || strcmp(slash, "/data.pkl") != 0)
            continue;
        if (pickle != NULL)
            return wrong(t, m->header, err, "the zip archive has a data.pkl in two folders");
        pickle = m;
    }
    if (pickle == NULL)
        return not_torch(t, err);
    size_t size = strlen(pickle->name) - strlen("data.pkl");
    if (size > ROOT_MAX)
        return wrong(t, pickle->header, err, "the zip archive's folder has a name that is too long");
    memcpy(root, pickle->name, size);
    root[size] = 0;
    for (int64_t i = 0; i < t->zip.count; i++) {
        const struct zip_member *m = &t->zip.members[i];
        if (strncmp(m->name, root, size) != 0)
            return wrong(t, m->header, err, "the zip archive has a member outside of the folder that data.pkl is in");
        if (strncmp(m->name + size, "code/", 5) == 0)
            return wrong(t, m->header, err,
                         "it is a TorchScript file, a program and not weights: save model.state_dict() by torch.save");
    }
    return MOCO_OK;
}

/* Finds the member `folder` `name` of the root. NULL: there is none. */
static const struct zip_member *find_member(const struct torch_file *t, const char *root, struct pickle_text name,
                                            const char *folder)
{
    char path[ROOT_MAX + 128];
    size_t at = strlen(root), folder_size = strlen(folder);
    if (memchr(name.bytes, 0, name.size) != NULL)
        return NULL;
    memcpy(path, root, at);
    memcpy(path + at, folder, folder_size);
    memcpy(path + at + folder_size, name.bytes, name.size); /* torch_storage allows names of at most 64 bytes */
    path[at + folder_size + name.size] = 0;
    return zip_find(&t->zip, path);
}

/* Reads a member that is a short text, ended by 0. *member is NULL if there is none. */
static moco_status small_member(const struct torch_file *t, const char *root, const char *name, char text[32],
                                const struct zip_member **member, struct err *err)
{
    *member = find_member(t, root, (struct pickle_text){name, strlen(name)}, "");
    memset(text, 0, 32);
    if (*member == NULL)
        return MOCO_OK;
    if ((*member)->size > 31)
        return wrong(t, (*member)->header, err, "the zip archive's version or byteorder is longer than 31 bytes");
    return zip_check(&t->zip, *member, text, 32, err);
}

/* Checks the two members that say how to read the others. Archives of older torch have no byteorder; they are
 * little-endian. */
static moco_status check_version(const struct torch_file *t, const char *root, struct err *err)
{
    const struct zip_member *m;
    char text[32];
    TRY(small_member(t, root, "version", text, &m, err));
    if (m == NULL)
        return wrong(t, 0, err, "the zip archive has no member \"version\": it is not one of torch.save");
    size_t digits = strspn(text, "0123456789");
    int version = 0;
    for (size_t i = 0; i < digits && version < 1000; i++)
        version = 10 * version + (text[i] - '0');
    if (digits == 0 || (text[digits] != 0 && strcmp(text + digits, "\n") != 0) || version < 1 || version > 10)
        return wrong(t, m->offset, err, "the version of the zip archive's content is not one from 1 to 10");
    TRY(small_member(t, root, "byteorder", text, &m, err));
    if (m != NULL && strcmp(text, "little") != 0)
        return wrong(t, m->offset, err,
                     strcmp(text, "big") == 0 ? "its numbers are big-endian, which is not read"
                                              : "its byteorder is neither little nor big");
    return MOCO_OK;
}

static moco_status place_zip_storages(struct torch_file *t, const char *root, struct err *err)
{
    for (int64_t i = 0; i < t->storage_count; i++) {
        struct torch_storage *s = &t->storages[i];
        s->member = find_member(t, root, pickle_text(&t->pickle, s->key), "data/");
        if (s->member == NULL)
            return torch_storage_wrong(t, s, err, "has no member in data/ of the zip archive");
        if (s->element > 0 && s->member->size != torch_storage_bytes(s))
            return err_set(err, MOCO_EFORMAT,
                           "%.300s: at byte %lld: member %.80s of the zip archive has %lld bytes; %lld elements of %d "
                           "bytes were to be there",
                           t->file.path, (long long)s->member->offset, s->member->name, (long long)s->member->size,
                           (long long)s->numel, s->element);
        s->offset = s->member->offset;
    }
    return MOCO_OK;
}

/* Reads the archive's directory and its pickle, whose checksum is compared first, and then finds the member of each
 * storage. */
static moco_status open_zip(struct torch_file *t, const char *path, struct err *err)
{
    char root[ROOT_MAX + 1] = "";
    TRY(file_open(&t->file, t->ctx, path, err));
    TRY(zip_open(&t->zip, &t->file, err));
    TRY(find_root(t, root, err));
    TRY(check_version(t, root, err));
    const struct zip_member *m = find_member(t, root, (struct pickle_text){"data.pkl", 8}, "");
    size_t room = m->size < PIECE ? (size_t)m->size + 1 : PIECE;
    void *piece = mem_alloc(t->ctx, room, err);
    moco_status status = piece == NULL ? MOCO_ENOMEM : zip_check(&t->zip, m, piece, room, err);
    mem_free(t->ctx, piece);
    if (status != MOCO_OK)
        return status;
    int64_t end = 0;
    TRY(read_pickle(t, m->offset, m->offset + m->size, &end, err));
    if (end != m->offset + m->size)
        return wrong(t, end, err, "something follows the pickle in data.pkl");
    TRY(place_zip_storages(t, root, err));
    return torch_walk(t, err);
}

moco_status torch_open_zip(struct torch_file *t, struct ctx *ctx, const char *path, struct err *err)
{
    *t = (struct torch_file){.ctx = ctx, .file = {.fd = -1}};
    return opened(t, open_zip(t, path, err));
}

/* ---- legacy ---- */

static int is_int(const struct pickle *p, pickle_value value, int64_t wanted)
{
    return pickle_kind(value) == PICKLE_INT && pickle_int(p, value) == wanted;
}

/* Checks the dict that describes the machine that wrote the file. Returns what is wrong, or NULL. */
static const char *wrong_system(const struct pickle *p)
{
    static const struct {
        const char *name;
        int size;
    } types[] = {{"short", 2}, {"int", 4}, {"long", 4}};
    pickle_value value;
    if (pickle_kind(p->root) != PICKLE_DICT)
        return "the pickle that describes the writing machine is no dict";
    if (!pickle_find(p, p->root, "protocol_version", &value) || !is_int(p, value, 1001))
        return "the description of the writing machine has no protocol_version 1001";
    if (!pickle_find(p, p->root, "little_endian", &value) || pickle_kind(value) != PICKLE_BOOL)
        return "the description of the writing machine does not say its little_endian";
    if (!pickle_bool(value))
        return "its numbers are big-endian, which is not read";
    if (!pickle_find(p, p->root, "type_sizes", &value) || pickle_kind(value) != PICKLE_DICT)
        return "the description of the writing machine has no type_sizes";
    for (int i = 0; i < 3; i++) {
        pickle_value size;
        if (!pickle_find(p, value, types[i].name, &size) || !is_int(p, size, types[i].size))
            return "the type_sizes of the writing machine are not short 2, int 4, long 4";
    }
    return NULL;
}

/* Reads the two small pickles after the magic number: a version and a description of the machine. */
static moco_status read_preamble(struct torch_file *t, int64_t *at, struct err *err)
{
    struct pickle p;
    int64_t begin = *at;
    TRY(pickle_read(&p, &t->file, begin, t->file.size, at, err));
    int version = is_int(&p, p.root, 1001);
    pickle_free(&p);
    if (!version)
        return wrong(t, begin, err, "the version of the file is not 1001");
    begin = *at;
    TRY(pickle_read(&p, &t->file, begin, t->file.size, at, err));
    const char *reason = wrong_system(&p);
    pickle_free(&p);
    return reason == NULL ? MOCO_OK : wrong(t, begin, err, reason);
}

/* Finds the bytes of one storage: at *at is its number of elements, then its bytes. */
static moco_status place_storage(struct torch_file *t, const struct pickle *list, pickle_value key, int64_t *at,
                                 struct err *err)
{
    unsigned char count[8];
    if (pickle_kind(key) != PICKLE_TEXT)
        return wrong(t, list->origin, err, "the list of storages holds something that is no text");
    struct torch_storage *s = torch_storage_find(t, pickle_text(list, key));
    if (s == NULL)
        return wrong(t, list->origin, err, "the list of storages has one that no tensor uses: its length is unknown");
    if (s->offset >= 0)
        return torch_storage_wrong(t, s, err, "is twice in the list of storages");
    if (s->element == 0)
        return torch_storage_wrong(t, s, err, "is of a class that is not known here: its length is unknown");
    if (t->file.size - *at < (int64_t)sizeof count)
        return wrong(t, *at, err, "the file ends before its last storage");
    TRY(file_read_at(&t->file, *at, count, sizeof count, err));
    if (get64(count) != s->numel)
        return err_set(err, MOCO_EFORMAT,
                       "%.300s: at byte %lld: a storage is said to have %lld elements here and %lld in the pickle",
                       t->file.path, (long long)*at, (long long)get64(count), (long long)s->numel);
    s->offset = *at + (int64_t)sizeof count;
    if (torch_storage_bytes(s) > t->file.size - s->offset)
        return wrong(t, s->offset, err, "the file ends before the storage that begins here");
    *at = s->offset + torch_storage_bytes(s);
    return MOCO_OK;
}

/* Finds the bytes of all storages. Only the list of their keys says in what order they follow each other. */
static moco_status place_legacy_storages(struct torch_file *t, int64_t at, struct err *err)
{
    struct pickle list;
    struct pickle_items items;
    pickle_value key;
    int64_t begin = at;
    memset(&items, 0, sizeof items);
    TRY(pickle_read(&list, &t->file, begin, t->file.size, &at, err));
    moco_status status = MOCO_OK;
    if (pickle_kind(list.root) != PICKLE_LIST)
        status = wrong(t, begin, err, "the list of storages is no list");
    else
        pickle_items_start(&items, &list, list.root);
    while (status == MOCO_OK && pickle_items_next(&items, &list, &key))
        status = place_storage(t, &list, key, &at, err);
    pickle_free(&list);
    if (status != MOCO_OK)
        return status;
    for (int64_t i = 0; i < t->storage_count; i++)
        if (t->storages[i].offset < 0)
            return torch_storage_wrong(t, &t->storages[i], err, "is not in the list of storages");
    return at == t->file.size ? MOCO_OK : wrong(t, at, err, "something follows the last storage");
}

static moco_status open_legacy(struct torch_file *t, const char *path, struct err *err)
{
    int64_t at = MAGIC; /* the magic number was compared by sniff_bytes */
    TRY(file_open(&t->file, t->ctx, path, err));
    TRY(read_preamble(t, &at, err));
    TRY(read_pickle(t, at, t->file.size, &at, err));
    TRY(place_legacy_storages(t, at, err));
    return torch_walk(t, err);
}

moco_status torch_open_legacy(struct torch_file *t, struct ctx *ctx, const char *path, struct err *err)
{
    *t = (struct torch_file){.ctx = ctx, .file = {.fd = -1}};
    return opened(t, open_legacy(t, path, err));
}

void torch_close(struct torch_file *t)
{
    if (t->ctx == NULL)
        return;
    for (int64_t i = 0; i < t->note_count; i++)
        mem_free(t->ctx, t->notes[i]);
    mem_free(t->ctx, t->notes);
    mem_free(t->ctx, t->names);
    mem_free(t->ctx, t->keys);
    mem_free(t->ctx, t->by_name);
    mem_free(t->ctx, t->others);
    mem_free(t->ctx, t->entries);
    mem_free(t->ctx, t->storages);
    pickle_free(&t->pickle);
    zip_close(&t->zip);
    file_close(&t->file);
    *t = (struct torch_file){.file = {.fd = -1}};
}
