/* SPDX-License-Identifier: MIT
 *
 * eval_view: see eval_view.h. */
#include "eval_view.h"

#include <stdio.h>

#include "support/from_moco.h"

static const char *const names[] = {"eval", "none", "simclr-eval"};
#define NAMES (int)(sizeof names / sizeof *names)

moco_status eval_view_named(moco_augment_options *view, const char *name, int size, struct err *err)
{
    TRY(from_moco(moco_augment_options_preset(view, name, size), err));
    if (view->crop == 0) {
        view->crop = 2;
        view->resize = view->size;
    }
    return MOCO_OK;
}

/* Which name makes this view; NULL: none. */
static const char *name_of(const moco_augment_options *v)
{
    for (int i = 0; i < NAMES; i++) {
        moco_augment_options n;
        if (eval_view_named(&n, names[i], v->size, NULL) == MOCO_OK && n.crop == v->crop && n.resize == v->resize &&
            n.centre_part == v->centre_part && n.interpolation == v->interpolation)
            return names[i];
    }
    return NULL;
}

moco_status eval_view_of(moco_augment_options *view, const moco_model *model, int size, int *known, struct err *err)
{
    moco_augment_options recipe;
    moco_status status = moco_model_recipe(model, &recipe);
    *known = status == MOCO_OK;
    if (status == MOCO_ENOTFOUND)
        return MOCO_OK;
    TRY(from_moco(status, err));
    if (size > 0 && size != recipe.size) { /* the same part of each image, in fewer or more pixels */
        const char *name = name_of(&recipe);
        if (name != NULL)
            return eval_view_named(view, name, size, err);
        recipe.resize = (int32_t)(((int64_t)recipe.resize * size + recipe.size / 2) / recipe.size);
        recipe.size = size;
    }
    *view = recipe;
    return MOCO_OK;
}

void eval_view_text(const moco_augment_options *view, char text[EVAL_VIEW_TEXT])
{
    const char *name = name_of(view), *filter = view->interpolation == 1 ? " bicubic" : "";
    if (name != NULL)
        snprintf(text, EVAL_VIEW_TEXT, "%s", name);
    else if (view->crop == 3)
        snprintf(text, EVAL_VIEW_TEXT, "middle %.4g to %d%s", view->centre_part, (int)view->size, filter);
    else if (view->crop == 2)
        snprintf(text, EVAL_VIEW_TEXT, "resize %d centre %d%s", (int)view->resize, (int)view->size, filter);
    else
        snprintf(text, EVAL_VIEW_TEXT, "as it is, %d pixels", (int)view->size);
}
