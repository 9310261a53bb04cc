/* SPDX-License-Identifier: MIT
 *
 * torch_storage: the storages that a pickle of torch.save refers to, by its persistent identities: tuples of "storage",
 * a class, a key, a place (ignored), a number of elements, and in the legacy container None. */
#include <string.h>

#include "format/torch/torch_read.h"
#include "sort.h"

#define CLASS(name, dtype, size)                                                                                       \
    {                                                                                                                  \
        name "Storage", dtype, size                                                                                    \
    }
static const struct {
    const char *name;
    int dtype, size;
} classes[] = {
    CLASS("Float", SAFETENSORS_F32, 4),         CLASS("Long", SAFETENSORS_I64, 8),
    CLASS("Half", SAFETENSORS_F16, 2),          CLASS("BFloat16", SAFETENSORS_BF16, 2),
    CLASS("Double", SAFETENSORS_F64, 8),        CLASS("Int", SAFETENSORS_I32, 4),
    CLASS("Short", SAFETENSORS_I16, 2),         CLASS("Char", SAFETENSORS_I8, 1),
    CLASS("Byte", SAFETENSORS_U8, 1),           CLASS("Bool", SAFETENSORS_BOOL, 1),
    CLASS("ComplexFloat", TORCH_DTYPE_NONE, 8), CLASS("ComplexDouble", TORCH_DTYPE_NONE, 16),
    CLASS("QInt8", TORCH_DTYPE_NONE, 1),        CLASS("QUInt8", TORCH_DTYPE_NONE, 1),
    CLASS("QInt32", TORCH_DTYPE_NONE, 4),       CLASS("Untyped", TORCH_DTYPE_NONE, 1),
};

int64_t torch_storage_bytes(const struct torch_storage *s)
{
    return s->numel > (INT64_C(1) << 62) / 16 ? -1 : s->numel * s->element;
}

moco_status torch_storage_wrong(const struct torch_file *t, const struct torch_storage *s, struct err *err,
                                const char *what)
{
    struct pickle_text key = pickle_text(&t->pickle, s->key);
    return err_set(err, MOCO_EFORMAT, "%.300s: at byte %lld: storage %.*s %s", t->file.path,
                   (long long)(t->pickle.origin + ((const unsigned char *)key.bytes - t->pickle.bytes)),
                   key.size > 60 ? 60 : (int)key.size, key.bytes, what);
}

static moco_status wrong(const struct torch_file *t, struct err *err, const char *what)
{
    return err_set(err, MOCO_EFORMAT, "%.300s: at byte %lld: in the pickle that begins here, a persistent value %s",
                   t->file.path, (long long)t->pickle.origin, what);
}

static void read_class(const struct torch_file *t, pickle_value value, struct torch_storage *s)
{
    struct pickle_text module, name;
    s->dtype = TORCH_DTYPE_NONE;
    s->element = 0;
    pickle_global(&t->pickle, value, &module, &name);
    if (module.size < 5 || memcmp(module.bytes, "torch", 5) != 0)
        return;
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (name.size == strlen(classes[i].name) && memcmp(name.bytes, classes[i].name, name.size) == 0) {
            s->dtype = classes[i].dtype;
            s->element = classes[i].size;
        }
}

/* Reads a persistent identity. A storage whose class is not known is kept without a type: only its tensors are lost. */
static moco_status read_id(const struct torch_file *t, pickle_value id, struct torch_storage *s, struct err *err)
{
    const struct pickle *p = &t->pickle;
    *s = (struct torch_storage){.id = id, .offset = -1};
    if (pickle_kind(id) != PICKLE_TUPLE || pickle_count(p, id) < 5 || pickle_count(p, id) > 6 ||
        !pickle_text_is(p, pickle_item(p, id, 0), "storage"))
        return wrong(t, err, "is no storage of torch");
    pickle_value class = pickle_item(p, id, 1), numel = pickle_item(p, id, 4);
    s->key = pickle_item(p, id, 2);
    if (pickle_kind(class) != PICKLE_GLOBAL)
        return wrong(t, err, "is a storage whose class is no name");
    if (pickle_kind(s->key) != PICKLE_TEXT || pickle_text(p, s->key).size == 0 || pickle_text(p, s->key).size > 64)
        return wrong(t, err, "is a storage whose key is no text of 1 to 64 bytes");
    if (pickle_kind(pickle_item(p, id, 3)) != PICKLE_TEXT)
        return torch_storage_wrong(t, s, err, "has a place that is no text");
    if (pickle_kind(numel) != PICKLE_INT || (s->numel = pickle_int(p, numel)) < 0)
        return torch_storage_wrong(t, s, err, "has a number of elements that is no integer from 0 to 2^63-1");
    if (pickle_count(p, id) == 6 && pickle_kind(pickle_item(p, id, 5)) != PICKLE_NONE)
        return torch_storage_wrong(t, s, err,
                                   "is a view of another, which torch stopped writing with 0.4 and is not read: load "
                                   "it with torch and save it again");
    read_class(t, class, s);
    if (torch_storage_bytes(s) < 0)
        return torch_storage_wrong(t, s, err, "has more bytes than a file can");
    return MOCO_OK;
}

static int compare_keys(struct pickle_text a, struct pickle_text b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = memcmp(a.bytes, b.bytes, size);
    return order != 0 ? order : a.size < b.size ? -1 : a.size > b.size;
}

static int by_key(const void *a, const void *b, const void *user)
{
    const struct torch_storage *x = a, *y = b;
    const struct pickle *p = user;
    int order = compare_keys(pickle_text(p, x->key), pickle_text(p, y->key));
    return order != 0 ? order : x->id < y->id ? -1 : x->id > y->id;
}

moco_status torch_storages_list(struct torch_file *t, struct err *err)
{
    const struct pickle *p = &t->pickle;
    int64_t count = 0, kept = 0;
    for (pickle_value v = p->persistents; v != 0; pickle_next(p, &v))
        count++;
    TRY(torch_table(t, count, sizeof *t->storages, &t->storages, err));
    for (pickle_value v = p->persistents; v != 0; pickle_next(p, &v))
        TRY(read_id(t, pickle_persistent_id(p, v), &t->storages[t->storage_count++], err));
    sort_array(t->storages, (size_t)count, sizeof *t->storages, by_key, p);
    for (int64_t i = 0; i < count; i++) { /* each tensor of a storage describes it; all must agree */
        struct torch_storage *s = &t->storages[i], *last = &t->storages[kept > 0 ? kept - 1 : 0];
        if (kept == 0 || compare_keys(pickle_text(p, last->key), pickle_text(p, s->key)) != 0)
            memmove(&t->storages[kept++], s, sizeof *s);
        else if (s->dtype != last->dtype || s->element != last->element || s->numel != last->numel)
            return torch_storage_wrong(t, s, err, "is described twice, and not alike");
    }
    t->storage_count = kept;
    return MOCO_OK;
}

struct torch_storage *torch_storage_find(const struct torch_file *t, struct pickle_text key)
{
    int64_t low = 0, high = t->storage_count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int order = compare_keys(key, pickle_text(&t->pickle, t->storages[middle].key));
        if (order == 0)
            return &t->storages[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
