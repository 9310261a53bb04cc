/* SPDX-License-Identifier: MIT
 *
 * dataset_join: two data sets one after the other. Classes with names are the same class if they have the same name;
 * new ones of the second set follow. Classes with only numbers are the same class if they have the same number. What
 * a reader would get wrong: a class of the second set may have another number here. A set whose classes have names
 * cannot be joined with one whose classes have none. */
#include <stdio.h>
#include <string.h>

#include "dataset.h"
#include "names.h"

struct join {
    struct dataset base;
    const struct dataset *part[2]; /* borrowed: the handle above holds them */
    int32_t *label;                /* [classes of part 1]; NULL: as they are */
    struct names classes;          /* none: numbers only */
};

static const struct dataset *part_of(const struct dataset *ds, int64_t *id)
{
    const struct join *j = (const struct join *)ds;
    int second = *id >= j->part[0]->count;
    if (second)
        *id -= j->part[0]->count;
    return j->part[second];
}

static moco_status read_image(const struct dataset *ds, int64_t id, struct decoder *decoder, struct image *image,
                              struct err *err)
{
    const struct dataset *part = part_of(ds, &id);
    return part->ops->read(part, id, decoder, image, err);
}

static int32_t label(const struct dataset *ds, int64_t id)
{
    const struct join *j = (const struct join *)ds;
    const struct dataset *part = part_of(ds, &id);
    int32_t own = part->ops->label(part, id);
    return own >= 0 && part == j->part[1] && j->label != NULL ? j->label[own] : own;
}

static moco_status path(const struct dataset *ds, int64_t id, char *text, size_t size)
{
    const struct dataset *part = part_of(ds, &id);
    return part->ops->path(part, id, text, size);
}

static const char *class_name(const struct dataset *ds, int32_t which)
{
    const struct join *j = (const struct join *)ds;
    return j->classes.count > 0 ? names_at(&j->classes, which) : "";
}

static void destroy(struct dataset *ds)
{
    struct join *j = (struct join *)ds;
    names_free(ds->ctx, &j->classes);
    mem_free(ds->ctx, j->label);
    mem_free(ds->ctx, j);
}

static const struct dataset_ops join_ops = {read_image, label, path, class_name, destroy};

static int has_names(const struct dataset *ds)
{
    return ds->classes > 0 && ds->ops->class_name(ds, 0)[0] != 0;
}

/* The names of part 0, then the new ones of part 1. Both mostly have the same order: a search begins behind the last
 * find. */
static moco_status join_names(struct join *j, struct err *err)
{
    const struct dataset *first = j->part[0], *second = j->part[1];
    struct ctx *ctx = j->base.ctx;
    int32_t at = 0;
    for (int32_t i = 0; i < first->classes; i++)
        TRY(names_add(ctx, &j->classes, first->ops->class_name(first, i), err));
    if ((j->label = mem_array(ctx, (size_t)second->classes, sizeof *j->label, err)) == NULL)
        return MOCO_ENOMEM;
    for (int32_t i = 0; i < second->classes; i++) {
        const char *name = second->ops->class_name(second, i);
        j->label[i] = -1;
        for (int32_t tried = 0; tried < first->classes && j->label[i] < 0; tried++) {
            int32_t candidate = (at + tried) % first->classes;
            if (strcmp(name, names_at(&j->classes, candidate)) == 0)
                j->label[i] = candidate;
        }
        if (j->label[i] >= 0) {
            at = (j->label[i] + 1) % first->classes;
            continue;
        }
        if (j->classes.count >= INT32_MAX)
            return err_set(err, MOCO_ENOTSUP, "both sets together have too many classes");
        j->label[i] = (int32_t)j->classes.count;
        TRY(names_add(ctx, &j->classes, name, err));
    }
    j->base.classes = (int32_t)j->classes.count;
    return names_trim(ctx, &j->classes, err);
}

static moco_status join_classes(struct join *j, struct err *err)
{
    const struct dataset *first = j->part[0], *second = j->part[1];
    int named = has_names(first), also = has_names(second);
    if (first->classes > 0 && second->classes > 0 && named != also)
        return err_set(
            err, MOCO_EINVAL,
            "the classes of one set have names (\"%.60s\") and those of the other have numbers only: which of "
            "them are the same cannot be said",
            named ? first->ops->class_name(first, 0) : second->ops->class_name(second, 0));
    if (named || also)
        return join_names(j, err);
    j->base.classes = first->classes > second->classes ? first->classes : second->classes;
    return MOCO_OK;
}

static moco_status join_left_out(struct dataset *ds, const struct dataset *part, struct err *err)
{
    const char *extension;
    int64_t files;
    for (int i = 0; (extension = dataset_left_out(part, i, &files)) != NULL; i++) {
        char name[32];
        snprintf(name, sizeof name, "x%s", extension);
        TRY(dataset_leave_out(ds, name, files, err));
    }
    return MOCO_OK;
}

moco_status dataset_join(struct dataset **out, struct ctx *ctx, const struct dataset *first,
                         const struct dataset *second, struct err *err)
{
    *out = NULL;
    struct join *j = mem_zalloc(ctx, sizeof *j, err);
    if (j == NULL)
        return MOCO_ENOMEM;
    j->base = (struct dataset){&join_ops, ctx_ref(ctx), first->count + second->count, 0, NULL, 0, 0};
    if (first->w == second->w && first->h == second->h) {
        j->base.w = first->w;
        j->base.h = first->h;
    }
    j->part[0] = first;
    j->part[1] = second;
    moco_status status = join_classes(j, err);
    for (int i = 0; i < 2 && status == MOCO_OK; i++)
        status = join_left_out(&j->base, j->part[i], err);
    if (status != MOCO_OK) {
        dataset_free(&j->base);
        return status;
    }
    dataset_left_out_sort(&j->base);
    *out = &j->base;
    return MOCO_OK;
}
