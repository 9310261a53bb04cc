/* SPDX-License-Identifier: MIT
 *
 * import_model: see import.h. The encoder is made without its numbers first. They take memory only after every
 * tensor of the file was found to fit. */
#include "algo/import/import.h"

#include <string.h>

#include "algo/import/import_source.h"

static moco_status read_all(struct source *s, struct encoder *e, moco_import_report *report, struct err *err)
{
    moco_status status = MOCO_ENOMEM;
    unsigned char *used = mem_array(e->ctx, (size_t)s->names->count, 1, err);
    struct passage passage = {0};
    if (used == NULL)
        goto done;
    TRY_GOTO(status, passage_make(&passage, s->names, e->real_bytes, source_largest(e), err), done);
    TRY_GOTO(status, encoder_numbers_alloc(e, &e->numbers, err), done);
    TRY_GOTO(status, source_read(s, e, &e->numbers, &passage, used, "", report, err), done);
    source_unused(s->names, used, report);
done:
    mem_free(e->ctx, passage.room);
    mem_free(e->ctx, used);
    return status;
}

moco_status import_encoder(struct encoder **out, struct ctx *ctx, const struct backend *be, struct be_device *dev,
                           struct weights *w, const moco_import_options *options, moco_import_report *report,
                           struct err *err)
{
    struct names names = {0};
    struct source s = {.names = &names};
    struct net_config config;
    moco_status status;
    *out = NULL;
    TRY_GOTO(status, names_open(&names, ctx, w, err), done);
    TRY_GOTO(status, candidate_choose(&names, options->prefix, options->which == MOCO_IMPORT_KEY, &s.at, err), done);
    strcpy(report->prefix, s.at.prefix);
    TRY_GOTO(status, source_network(&s, options, &config, report, err), done);
    TRY_GOTO(status, encoder_create_hollow(out, ctx, be, dev, &config, err), done);
    TRY_GOTO(status, source_match(&s, *out, report, err), done);
    TRY_GOTO(status, read_all(&s, *out, report, err), done);
done:
    mem_free(ctx, s.tensor);
    names_close(&names);
    if (status != MOCO_OK) {
        encoder_free(*out);
        *out = NULL;
    }
    return status;
}

moco_status import_candidate(struct ctx *ctx, const struct weights *w, int64_t index, moco_import_found *found,
                             struct err *err)
{
    static const int32_t which[] = {
        [ROLE_QUERY] = MOCO_IMPORT_QUERY, [ROLE_KEY] = MOCO_IMPORT_KEY, [ROLE_PLAIN] = MOCO_IMPORT_PLAIN};
    struct names names;
    struct candidate c;
    TRY(names_open(&names, ctx, w, err));
    int there = index >= 0 && candidate_at(&names, index, &c);
    names_close(&names);
    if (!there)
        return err_set(err, MOCO_ENOTFOUND, "%.300s: there is no encoder number %lld in it", weights_path(w),
                       (long long)index);
    found->which = which[c.role];
    strcpy(found->prefix, c.prefix);
    return MOCO_OK;
}
