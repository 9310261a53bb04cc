/* SPDX-License-Identifier: MIT
 *
 * checkpoints: see checkpoints.h. The note is a flat JSON object whose strings need no escapes, and the reader
 * accepts nothing more. */
#include "checkpoints.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/from_moco.h"

#define PROGRAM "train_imagenet"
#define KEY_LETTERS "abcdefghijklmnopqrstuvwxyz0123456789-_"
#define STEPS_MAX (INT64_C(1) << 40)

moco_status checkpoint_write(moco_trainer *trainer, const char *path, const struct run_note *note, struct err *err)
{
    char text[NOTE_SIZE], options[NOTE_SIZE / 2], loss[40];
    run_config_json(&note->config, options, sizeof options);
    cli_real_text(note->epoch_loss, loss, sizeof loss);
    snprintf(
        text, sizeof text,
        "{\"program\":\"" PROGRAM
        "\",\"data\":\"%s\",\"sketch\":\"%s\",%s%s%s\"epoch_done\":%lld,\"epoch_steps\":%lld,\"epoch_loss\":%s,%s}",
        note->data, note->sketch, note->changed[0] != 0 ? "\"changed\":\"" : "", note->changed,
        note->changed[0] != 0 ? "\"," : "", (long long)note->epoch_done, (long long)note->epoch_steps, loss, options);
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

/* A string without escapes, or (`bare`) a number as it is written. */
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

/* What has been read, and of which members. */
struct taking {
    struct run_note *note;
    int known, data, done, steps, loss; /* known: the note is of this program */
    unsigned char taken[CLI_OPTIONS_MAX];
};

static moco_status take_text(char *to, size_t size, const char *key, const char *value, struct err *err)
{
    for (const char *at = value; *at != 0; at++)
        if (*at < 32 || *at > 126) /* it is printed one day */
            return err_set(err, MOCO_EFORMAT, "its \"%s\" holds bytes that no such text has", key);
    if (strlen(value) >= size)
        return err_set(err, MOCO_EFORMAT, "its \"%s\" is longer than %zu bytes", key, size - 1);
    memcpy(to, value, strlen(value) + 1);
    return MOCO_OK;
}

static moco_status take_count(int64_t *to, int64_t high, const char *key, const char *value, struct err *err)
{
    char *end;
    errno = 0;
    *to = strtoll(value, &end, 10);
    if (end == value || *end != 0 || errno != 0 || *to < 0 || *to > high)
        return err_set(err, MOCO_EFORMAT, "its \"%s\" is %.40s; it must be 0 to %lld", key, value, (long long)high);
    return MOCO_OK;
}

static moco_status take_loss(double *to, const char *value, struct err *err)
{
    char *end;
    *to = strtod(value, &end);
    if (end == value || *end != 0 || !isfinite(*to))
        return err_set(err, MOCO_EFORMAT, "its \"epoch_loss\" is %.40s, which is no number", value);
    return MOCO_OK;
}

static moco_status take(struct taking *t, const char *key, const char *value, struct err *err)
{
    struct run_note *note = t->note;
    if (strcmp(key, "program") == 0) {
        t->known = strcmp(value, PROGRAM) == 0;
        return MOCO_OK;
    }
    if (strcmp(key, "data") == 0) {
        t->data = 1;
        return take_text(note->data, sizeof note->data, key, value, err);
    }
    if (strcmp(key, "sketch") == 0)
        return take_text(note->sketch, sizeof note->sketch, key, value, err);
    if (strcmp(key, "changed") == 0)
        return take_text(note->changed, sizeof note->changed, key, value, err);
    if (strcmp(key, "epoch_done") == 0) {
        t->done = 1;
        return take_count(&note->epoch_done, 1, key, value, err);
    }
    if (strcmp(key, "epoch_steps") == 0) {
        t->steps = 1;
        return take_count(&note->epoch_steps, STEPS_MAX, key, value, err);
    }
    if (strcmp(key, "epoch_loss") == 0) {
        t->loss = 1;
        return take_loss(&note->epoch_loss, value, err);
    }
    return run_config_take(&note->config, key, value, t->taken, err);
}

static moco_status parse(struct run_note *note, const char *text, struct err *err)
{
    struct reader r = {text};
    struct taking t = {.note = note};
    char key[64], value[CHANGED_SIZE];
    int good = skip(&r, '{');
    for (int more = good; more; more = skip(&r, ',')) {
        good = word(&r, 0, key, sizeof key) && key[strspn(key, KEY_LETTERS)] == 0 && skip(&r, ':') &&
               word(&r, 1, value, sizeof value);
        if (!good)
            break;
        TRY(take(&t, key, value, err));
        if (!t.known)
            break;
    }
    if (!t.known || !good || !skip(&r, '}') || *r.at != 0)
        return err_set(err, MOCO_EFORMAT, "it was not written by " PROGRAM "; only such a checkpoint can be resumed");
    if (!t.data || !t.done || !t.steps || !t.loss)
        return err_set(err, MOCO_EFORMAT, "it lacks \"%s\"",
                       !t.data    ? "data"
                       : !t.done  ? "epoch_done"
                       : !t.steps ? "epoch_steps"
                                  : "epoch_loss");
    return run_config_complete(&note->config, t.taken, err);
}

moco_status checkpoint_read_note(moco_context *context, const char *path, struct run_note *note, struct err *err)
{
    char text[NOTE_SIZE];
    TRY(from_moco(moco_checkpoint_describe(context, path, NULL, NULL, NULL, text, sizeof text), err));
    struct err reason = {0};
    moco_status status = parse(note, text, &reason);
    if (status != MOCO_OK)
        return err_set(err, status, "%.300s cannot be resumed: of its note, %.160s", path, reason.text);
    return MOCO_OK;
}
