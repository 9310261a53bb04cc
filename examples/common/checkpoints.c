/* SPDX-License-Identifier: MIT
 *
 * checkpoints: see checkpoints.h. The note is a flat JSON object whose strings need no escapes, and the reader takes
 * no more than that. */
#include "checkpoints.h"

#include <stdlib.h>
#include <string.h>

#include "from_moco.h"

#define PROGRAM "train_imagenet"

moco_status checkpoint_write(moco_trainer *trainer, const char *path, const struct run_note *note, struct err *err)
{
    char text[NOTE_SIZE], options[NOTE_SIZE / 2], loss[40];
    run_config_json(&note->config, options, sizeof options);
    cli_real_text(note->epoch_loss, loss, sizeof loss);
    snprintf(text, sizeof text,
             "{\"program\":\"" PROGRAM
             "\",\"data\":\"%s\",\"epoch_done\":%lld,\"epoch_steps\":%lld,\"epoch_loss\":%s,%s}",
             note->data, (long long)note->epoch_done, (long long)note->epoch_steps, loss, options);
    return from_moco(moco_trainer_save(trainer, path, text), err);
}

/* ---- reading ---- */

struct reader {
    const char *at;
};

static int skip(struct reader *r, char wanted)
{
    while (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r')
        r->at++;
    if (*r->at != wanted)
        return 0;
    r->at++;
    return 1;
}

/* A string without escapes, or (`bare`) a number as it stands. */
static int word(struct reader *r, int bare, char *text, size_t size)
{
    int quoted = skip(r, '"');
    if (!quoted && !bare)
        return 0;
    size_t n = quoted ? strcspn(r->at, "\"\\") : strspn(r->at, "+-.0123456789eE");
    if (n >= size || (quoted ? r->at[n] != '"' : n == 0))
        return 0;
    memcpy(text, r->at, n);
    text[n] = 0;
    r->at += n + (quoted ? 1 : 0);
    return 1;
}

static moco_status take(struct run_note *note, const char *key, const char *value, int *known, struct err *err)
{
    char *end;
    if (strcmp(key, "program") == 0) {
        *known = strcmp(value, PROGRAM) == 0;
        return MOCO_OK;
    }
    if (strcmp(key, "data") == 0) {
        snprintf(note->data, sizeof note->data, "%.79s", value);
        return MOCO_OK;
    }
    if (strcmp(key, "epoch_done") == 0 || strcmp(key, "epoch_steps") == 0) {
        int64_t *to = key[6] == 'd' ? &note->epoch_done : &note->epoch_steps;
        *to = strtoll(value, &end, 10);
        return *end == 0 && *to >= 0 ? MOCO_OK : err_set(err, MOCO_EFORMAT, "its \"%s\" is no number", key);
    }
    if (strcmp(key, "epoch_loss") == 0) {
        note->epoch_loss = strtod(value, &end);
        return *end == 0 ? MOCO_OK : err_set(err, MOCO_EFORMAT, "its \"%s\" is no number", key);
    }
    return run_config_take(&note->config, key, value, err);
}

static moco_status parse(struct run_note *note, const char *text, struct err *err)
{
    struct reader r = {text};
    char key[64], value[CLI_PATH_SIZE];
    int known = 0, good = skip(&r, '{');
    for (int more = good; more; more = skip(&r, ',')) {
        good = word(&r, 0, key, sizeof key) && skip(&r, ':') && word(&r, 1, value, sizeof value);
        if (!good)
            break;
        TRY(take(note, key, value, &known, err));
        if (!known)
            break;
    }
    if (!known || !good || !skip(&r, '}'))
        return err_set(err, MOCO_EFORMAT, "it was not written by " PROGRAM "; only such a checkpoint can be resumed");
    return MOCO_OK;
}

moco_status checkpoint_read_note(moco_context *context, const char *path, struct run_note *note, struct err *err)
{
    char text[NOTE_SIZE];
    TRY(from_moco(moco_checkpoint_describe(context, path, NULL, NULL, NULL, text, sizeof text), err));
    struct err reason = {0};
    moco_status status = parse(note, text, &reason);
    if (status != MOCO_OK)
        return err_set(err, status, "%.300s cannot be resumed: %.160s", path, reason.text);
    return MOCO_OK;
}
