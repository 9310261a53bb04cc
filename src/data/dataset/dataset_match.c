/* SPDX-License-Identifier: MIT
 *
 * dataset_match: a data set with the labels of another one, class by class of the same name. Folders number a class
 * by its rank among the others, so that one folder more or less shifts all later numbers. What a reader would get
 * wrong: images of classes that the other set lacks are left out, so that image numbers differ from those of the
 * original set. */
#include <string.h>

#include "dataset.h"
#include "names.h"

struct match {
    struct dataset base;
    const struct dataset *below; /* borrowed: the handle above holds it */
    int32_t *label;              /* [classes of below]: -1: no namesake */
    int64_t *ids;                /* [count]: numbers below; NULL: all, in order */
    struct names classes;
};

static int64_t below_id(const struct match *m, int64_t id)
{
    return m->ids != NULL ? m->ids[id] : id;
}

static moco_status read_image(const struct dataset *ds, int64_t id, struct decoder *decoder, struct image *image,
                              struct err *err)
{
    const struct match *m = (const struct match *)ds;
    return m->below->ops->read(m->below, below_id(m, id), decoder, image, err);
}

static int32_t label(const struct dataset *ds, int64_t id)
{
    const struct match *m = (const struct match *)ds;
    int32_t below = m->below->ops->label(m->below, below_id(m, id));
    return below < 0 ? -1 : m->label[below];
}

static moco_status path(const struct dataset *ds, int64_t id, char *text, size_t size)
{
    const struct match *m = (const struct match *)ds;
    return m->below->ops->path(m->below, below_id(m, id), text, size);
}

static const char *class_name(const struct dataset *ds, int32_t which)
{
    return names_at(&((const struct match *)ds)->classes, which);
}

static void destroy(struct dataset *ds)
{
    struct match *m = (struct match *)ds;
    names_free(ds->ctx, &m->classes);
    mem_free(ds->ctx, m->label);
    mem_free(ds->ctx, m->ids);
    mem_free(ds->ctx, m);
}

static const struct dataset_ops match_ops = {read_image, label, path, class_name, destroy};

/* Fills `label`. Both sets mostly have the same order, so each search begins behind the last namesake. */
static void match_names(struct match *m, const struct dataset *like)
{
    int32_t at = 0;
    for (int32_t i = 0; i < m->below->classes; i++) {
        const char *name = m->below->ops->class_name(m->below, i);
        m->label[i] = -1;
        for (int32_t tried = 0; tried < like->classes; tried++) {
            int32_t candidate = (at + tried) % like->classes;
            if (name[0] == 0 || strcmp(name, like->ops->class_name(like, candidate)) != 0)
                continue;
            m->label[i] = candidate;
            at = (candidate + 1) % like->classes;
            break;
        }
    }
}

/* Counts the images that have a label now, and lists them if that is not all. */
static moco_status choose(struct match *m, struct err *err)
{
    const struct dataset *below = m->below;
    int64_t kept = 0;
    for (int64_t id = 0; id < below->count; id++) {
        int32_t class = below->ops->label(below, id);
        kept += class >= 0 && m->label[class] >= 0;
    }
    m->base.count = kept;
    if (kept == 0)
        return err_set(
            err, MOCO_EINVAL,
            "no image is of a class that the other set names too (\"%.60s\" is one here, and the other has %d "
            "classes)",
            below->ops->class_name(below, 0), (int)m->base.classes);
    if (kept == below->count)
        return MOCO_OK;
    if ((m->ids = mem_array(m->base.ctx, (size_t)kept, sizeof *m->ids, err)) == NULL)
        return MOCO_ENOMEM;
    kept = 0;
    for (int64_t id = 0; id < below->count; id++) {
        int32_t class = below->ops->label(below, id);
        if (class >= 0 && m->label[class] >= 0)
            m->ids[kept++] = id;
    }
    return MOCO_OK;
}

static moco_status fill(struct match *m, const struct dataset *like, struct err *err)
{
    if (m->below->classes == 0 || like->classes == 0)
        return err_set(err, MOCO_EINVAL, "%s has no classes to be matched",
                       m->below->classes == 0 ? "dataset" : "like");
    for (int32_t i = 0; i < like->classes; i++)
        TRY(names_add(m->base.ctx, &m->classes, like->ops->class_name(like, i), err));
    TRY(names_trim(m->base.ctx, &m->classes, err));
    if ((m->label = mem_array(m->base.ctx, (size_t)m->below->classes, sizeof *m->label, err)) == NULL)
        return MOCO_ENOMEM;
    match_names(m, like);
    return choose(m, err);
}

moco_status dataset_match(struct dataset **out, struct ctx *ctx, const struct dataset *ds, const struct dataset *like,
                          struct err *err)
{
    *out = NULL;
    struct match *m = mem_zalloc(ctx, sizeof *m, err);
    if (m == NULL)
        return MOCO_ENOMEM;
    m->base = (struct dataset){&match_ops, ctx_ref(ctx), 0, like->classes, NULL, 0, 0};
    m->below = ds;
    moco_status status = fill(m, like, err);
    if (status != MOCO_OK) {
        dataset_free(&m->base);
        return status;
    }
    *out = &m->base;
    return MOCO_OK;
}
