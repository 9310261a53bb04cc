/* SPDX-License-Identifier: MIT
 *
 * weights_copy: see weights_copy.h. */
#include "format/weights_copy.h"

#include <string.h>

#include "format/torch/torch_tree.h"
#include "format/weights_state.h"

struct copy {
    struct weights *from;
    struct ctx *ctx;
    char *tree;
    int64_t *order; /* [count]: numbers of tensors of `from`, in the order of the tree */
    char *used;     /* [all tensors of `from`]: 1 if it is in `order` */
    int64_t count, largest;
    struct safetensors_metadata metadata;
};

static void describe(const struct copy *c, int64_t i, struct safetensors_tensor *tensor)
{
    struct weights_tensor t;
    weights_at(c->from, i, &t);
    *tensor = (struct safetensors_tensor){.name = t.name, .dtype = t.dtype, .ndim = t.ndim};
    memcpy(tensor->shape, t.shape, sizeof t.shape);
    tensor->bytes = t.count * (int64_t)safetensors_dtype_size(t.dtype);
}

static moco_status next_tensor(void *self, const char *name, struct safetensors_tensor *tensor, struct err *err)
{
    struct copy *c = self;
    int64_t i;
    if (weights_find(c->from, name, &i, NULL) != MOCO_OK)
        return err_set(err, MOCO_EFORMAT, TORCH_TREE_KEY " names a tensor %.100s, which the file does not have", name);
    if (c->used[i])
        return err_set(err, MOCO_EFORMAT, "the tensor %.100s has two places", name);
    c->used[i] = 1;
    c->order[c->count++] = i;
    describe(c, i, tensor);
    if (tensor->bytes > c->largest)
        c->largest = tensor->bytes;
    return MOCO_OK;
}

static moco_status keep_text(void *self, const char *name, const char *value, struct err *err)
{
    struct copy *c = self;
    if (strcmp(name, "format") == 0 || strcmp(name, TORCH_TREE_KEY) == 0 ||
        strncmp(name, SAFETENSORS_HASH_KEY, strlen(SAFETENSORS_HASH_KEY)) == 0)
        return MOCO_OK; /* nothing is lost: the tree has it too */
    return safetensors_metadata_add(&c->metadata, name, value, err);
}

/* Finds the tree: that of a torch file, the one kept in a safetensors file, or else one dict of all tensors. */
static moco_status find_tree(struct copy *c, struct err *err)
{
    if (c->from->safetensors == NULL)
        return torch_tree_of(&c->from->torch, &c->tree, err);
    const char *text = safetensors_find_text(c->from->safetensors, TORCH_TREE_KEY);
    if (text == NULL)
        return torch_tree_flat(c->from, c->ctx, &c->tree, err);
    c->tree = mem_strdup(c->ctx, text, err);
    return c->tree != NULL ? MOCO_OK : MOCO_ENOMEM;
}

static moco_status start(struct copy *c, struct weights *from, struct err *err)
{
    size_t count = (size_t)weights_count(from);
    *c = (struct copy){.from = from, .ctx = from->ctx};
    safetensors_metadata_init(&c->metadata, c->ctx);
    c->order = mem_array(c->ctx, count, sizeof *c->order, err);
    c->used = mem_array(c->ctx, count, 1, err);
    return c->order != NULL && c->used != NULL ? find_tree(c, err) : MOCO_ENOMEM;
}

static void finish(struct copy *c)
{
    safetensors_metadata_free(&c->metadata);
    mem_free(c->ctx, c->order);
    mem_free(c->ctx, c->used);
    mem_free(c->ctx, c->tree);
}

/* Reads the tree, and puts it into a pickle if there is a writer. It has to name every tensor. */
static moco_status walk(struct copy *c, struct torch_writer *w, int texts, struct err *err)
{
    const struct torch_tree_tensors tensors = {c, next_tensor, texts ? keep_text : NULL};
    TRY(torch_tree_put(c->tree, w, c->ctx, &tensors, err));
    if (c->count != weights_count(c->from))
        return err_set(err, MOCO_EFORMAT, TORCH_TREE_KEY " has places for %lld of %lld tensors", (long long)c->count,
                       (long long)weights_count(c->from));
    return MOCO_OK;
}

/* ---- to torch ---- */

static moco_status write_torch(struct copy *c, struct torch_writer *w, const char *path, struct err *err)
{
    TRY(walk(c, w, 0, err));
    TRY(torch_write_begin(w, path, err));
    void *bytes = mem_alloc(c->ctx, (size_t)c->largest, err);
    moco_status status = bytes != NULL ? MOCO_OK : MOCO_ENOMEM;
    for (int64_t i = 0; i < c->count && status == MOCO_OK; i++) {
        struct safetensors_tensor tensor;
        describe(c, c->order[i], &tensor);
        status = weights_read(c->from, c->order[i], WEIGHTS_AS_IS, bytes, err);
        if (status == MOCO_OK)
            status = torch_write(w, i, bytes, (size_t)tensor.bytes, err);
    }
    mem_free(c->ctx, bytes);
    return status == MOCO_OK ? torch_write_commit(w, err) : status;
}

moco_status weights_copy_torch(struct weights *from, const char *path, struct err *err)
{
    struct copy c;
    struct torch_writer writer;
    moco_status status = start(&c, from, err);
    torch_write_start(&writer, from->ctx, err);
    if (status == MOCO_OK)
        status = write_torch(&c, &writer, path, err);
    torch_write_abandon(&writer);
    finish(&c);
    return status;
}

/* ---- to safetensors ---- */

static moco_status copy_texts(struct copy *c, struct err *err)
{
    const struct safetensors *f = c->from->safetensors;
    if (f == NULL) {
        TRY(safetensors_metadata_add(&c->metadata, "format", "pt", err));
        return safetensors_metadata_add(&c->metadata, TORCH_TREE_KEY, c->tree, err);
    }
    for (int64_t i = 0; i < f->text_count; i++) {
        const char *key = f->header + f->texts[i].key;
        int hash = strcmp(key, SAFETENSORS_HASH_KEY) == 0 ||
                   strncmp(key, SAFETENSORS_HASH_PREFIX, strlen(SAFETENSORS_HASH_PREFIX)) == 0;
        if (!hash)
            TRY(safetensors_metadata_add(&c->metadata, key, f->header + f->texts[i].value, err));
    }
    return MOCO_OK;
}

static moco_status write_tensors(struct copy *c, struct safetensors_writer *writer,
                                 const struct safetensors_tensor *tensors, struct err *err)
{
    void *bytes = mem_alloc(c->ctx, (size_t)c->largest, err);
    moco_status status = bytes != NULL ? MOCO_OK : MOCO_ENOMEM;
    for (int64_t i = 0; i < c->count && status == MOCO_OK; i++) {
        status = weights_read(c->from, c->order[i], WEIGHTS_AS_IS, bytes, err);
        if (status == MOCO_OK)
            status = safetensors_write(writer, i, bytes, (size_t)tensors[i].bytes, err);
    }
    mem_free(c->ctx, bytes);
    return status;
}

/* Reads the tree for its order and texts alone, and writes the tensors in that order. */
static moco_status write_safetensors(struct copy *c, const char *path, struct err *err)
{
    struct safetensors_writer *writer = NULL;
    TRY(walk(c, NULL, c->from->safetensors == NULL, err));
    TRY(copy_texts(c, err));
    struct safetensors_tensor *tensors = mem_array(c->ctx, (size_t)c->count, sizeof *tensors, err);
    if (tensors == NULL)
        return MOCO_ENOMEM;
    for (int64_t i = 0; i < c->count; i++)
        describe(c, c->order[i], &tensors[i]);
    moco_status status = safetensors_create(&writer, c->ctx, path, tensors, c->count, c->metadata.items,
                                            c->metadata.count, SAFETENSORS_HASHES, err);
    if (status == MOCO_OK)
        status = write_tensors(c, writer, tensors, err);
    mem_free(c->ctx, tensors);
    if (status == MOCO_OK)
        return safetensors_commit(writer, err);
    safetensors_abandon(writer);
    return status;
}

moco_status weights_copy_safetensors(struct weights *from, const char *path, struct err *err)
{
    struct copy c;
    moco_status status = start(&c, from, err);
    if (status == MOCO_OK)
        status = write_safetensors(&c, path, err);
    finish(&c);
    return status;
}
