/* SPDX-License-Identifier: MIT
 *
 * frozen: see frozen.h. Numbers are hashed as the bits of doubles, which hold every type of a model exactly. */
#include "frozen.h"

#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "support/from_moco.h"

_Static_assert(FROZEN_TEXT == HASH_DIGITS + 1, "room for the digits and a 0");

static moco_status add_tensor(struct hash *h, moco_model *model, const char *name, struct err *err)
{
    moco_tensor t;
    size_t count = 1;
    moco_tensor_init(&t);
    TRY(from_moco(moco_model_get(model, name, &t), err));
    for (int d = 0; d < t.ndim; d++)
        count *= (size_t)t.shape[d];
    t.dtype = MOCO_F64;
    t.data = malloc(count * sizeof(double));
    if (t.data == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    moco_status status = from_moco(moco_model_get(model, name, &t), err);
    hash_add(h, name, strlen(name) + 1);
    if (status == MOCO_OK)
        hash_add(h, t.data, count * sizeof(double));
    free(t.data);
    return status;
}

moco_status frozen_hash(moco_model *model, char text[FROZEN_TEXT], struct err *err)
{
    struct hash h;
    hash_start(&h);
    const char *name;
    for (int i = 0; (name = moco_model_tensor_name(model, i)) != NULL; i++)
        TRY(add_tensor(&h, model, name, err));
    hash_text(&h, text);
    return MOCO_OK;
}
