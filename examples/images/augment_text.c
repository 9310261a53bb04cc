/* SPDX-License-Identifier: MIT
 *
 * augment_text: see augment_text.h. */
#include "augment_text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file/file_retry.h"
#include "support/cli_options.h"

#define AT(member) offsetof(moco_augment_options, member)
#define FILE_MAX 65536

enum kind { REAL, RANGE, WHOLE };
static const struct field {
    const char *name;
    enum kind kind;
    size_t offset;
    double low, high;
} fields[] = {
    {"scale", RANGE, AT(scale), 0, 1},
    {"ratio", RANGE, AT(ratio), 1e-3, 1e3},
    {"jitter_p", REAL, AT(jitter_p), 0, 1},
    {"brightness", REAL, AT(brightness), 0, 100},
    {"contrast", REAL, AT(contrast), 0, 100},
    {"saturation", REAL, AT(saturation), 0, 100},
    {"hue", REAL, AT(hue), 0, 0.5},
    {"grey_p", REAL, AT(grey_p), 0, 1},
    {"grey_first", WHOLE, AT(grey_first), 0, 1},
    {"blur_p", REAL, AT(blur_p), 0, 1},
    {"blur_sigma", RANGE, AT(blur_sigma), 0, 100},
    {"flip_p", REAL, AT(flip_p), 0, 1},
    {"interpolation", WHOLE, AT(interpolation), 0, 1},
    {"crop_attempts", WHOLE, AT(crop_attempts), 0, 1000},
};
enum { FIELDS = sizeof fields / sizeof *fields };

/* What the entries say. */
struct entries {
    int there[FIELDS];
    double value[FIELDS][2];
};

static int number(const char *text, const struct field *f, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return end != text && *end == 0 && strspn(text, "0123456789.eE+-") == strlen(text) && *value >= f->low &&
           *value <= f->high && (f->kind != WHOLE || *value == floor(*value));
}

static moco_status wrong_value(const struct field *f, const char *value, struct err *err)
{
    char low[40], high[40];
    cli_real_text(f->low, low, sizeof low);
    cli_real_text(f->high, high, sizeof high);
    return err_set(err, MOCO_EINVAL, "augmentation: %s is \"%.60s\"; it must be %s %s to %s%s", f->name, value,
                   f->kind == RANGE   ? "two numbers, a:b,"
                   : f->kind == WHOLE ? "a whole number,"
                                      : "a number,",
                   low, high, f->kind == RANGE ? ", the smaller one first" : "");
}

/* `entry` is cut apart. */
static moco_status take(struct entries *e, char *entry, struct err *err)
{
    char *value = strchr(entry, '='), whole[64];
    int i = 0;
    if (value == NULL)
        return err_set(err, MOCO_EINVAL, "augmentation: \"%.60s\" is no entry; write name=value", entry);
    *value++ = 0;
    snprintf(whole, sizeof whole, "%s", value);
    while (i < FIELDS && strcmp(fields[i].name, entry) != 0)
        i++;
    if (i == FIELDS)
        return err_set(err, MOCO_EINVAL,
                       "augmentation: there is no \"%.60s\"; there are scale, ratio, jitter_p, brightness, contrast, "
                       "saturation, hue, grey_p, grey_first, blur_p, blur_sigma, flip_p, interpolation and "
                       "crop_attempts",
                       entry);
    if (e->there[i])
        return err_set(err, MOCO_EINVAL, "augmentation: %s is said twice", entry);
    char *colon = strchr(value, ':');
    if ((colon != NULL) != (fields[i].kind == RANGE))
        return wrong_value(&fields[i], whole, err);
    if (colon != NULL)
        *colon = 0;
    if (!number(value, &fields[i], &e->value[i][0]) ||
        (colon != NULL && (!number(colon + 1, &fields[i], &e->value[i][1]) || e->value[i][0] > e->value[i][1])))
        return wrong_value(&fields[i], whole, err);
    e->there[i] = 1;
    return MOCO_OK;
}

/* `text` is cut apart. */
static moco_status parse(struct entries *e, char *text, struct err *err)
{
    *e = (struct entries){0};
    for (char *at = text, *end; *at != 0; at = end) {
        end = at + strcspn(at, ",\n");
        int last = *end == 0;
        *end = 0;
        char *to = at;
        for (const char *from = at; *from != 0 && *from != '#'; from++)
            if (strchr(" \t\r", *from) == NULL)
                *to++ = *from;
        *to = 0;
        if (*at != 0)
            TRY(take(e, at, err));
        end += !last;
    }
    return MOCO_OK;
}

/* malloc'ed. A remark may hold commas, which end no entry there. */
static moco_status read_file(const char *path, char **text, struct err *err)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return err_set(err, MOCO_EIO, "the recipe %.300s cannot be opened: %s; write name=value, or name a file", path,
                       file_reason(errno, (char[FILE_REASON]){0}));
    char *all = malloc(FILE_MAX + 1);
    size_t got = all != NULL ? fread(all, 1, FILE_MAX + 1, file) : 0;
    int failed = ferror(file);
    fclose(file);
    if (all == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    if (failed || got > FILE_MAX || memchr(all, 0, got) != NULL) {
        free(all);
        return err_set(err, failed ? MOCO_EIO : MOCO_EINVAL, "the recipe %.300s %s", path,
                       failed ? "cannot be read" : "is no text of at most 64 KiB");
    }
    all[got] = 0;
    for (char *at = strchr(all, '#'); at != NULL; at = strchr(at, '#'))
        for (; *at != 0 && *at != '\n'; at++)
            *at = ' ';
    *text = all;
    return MOCO_OK;
}

static void write_entries(const struct entries *e, char text[AUGMENT_TEXT])
{
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < FIELDS; i++) {
        char value[2][40];
        if (!e->there[i])
            continue;
        for (int k = 0; k < 2; k++)
            cli_real_text(e->value[i][k], value[k], sizeof value[k]);
        used += (size_t)snprintf(text + used, AUGMENT_TEXT - used, "%s%s=%s%s%s", used > 0 ? "," : "", fields[i].name,
                                 value[0], fields[i].kind == RANGE ? ":" : "", fields[i].kind == RANGE ? value[1] : "");
    }
}

moco_status augment_text_settle(const char *given, char text[AUGMENT_TEXT], struct err *err)
{
    struct entries e;
    char *copy = NULL;
    text[0] = 0;
    if (given[0] == 0)
        return MOCO_OK;
    if (strchr(given, '=') == NULL)
        TRY(read_file(given, &copy, err));
    else if ((copy = malloc(strlen(given) + 1)) != NULL)
        strcpy(copy, given);
    else
        return err_set(err, MOCO_ENOMEM, "out of memory");
    moco_status status = parse(&e, copy, err);
    free(copy);
    if (status == MOCO_OK)
        write_entries(&e, text);
    return status;
}

moco_status augment_text_apply(moco_augment_options *recipe, const char *text, struct err *err)
{
    char copy[AUGMENT_TEXT];
    struct entries e;
    if (snprintf(copy, sizeof copy, "%s", text) >= (int)sizeof copy)
        return err_set(err, MOCO_EINVAL, "augmentation: a text of more than %d bytes", AUGMENT_TEXT - 1);
    TRY(parse(&e, copy, err));
    for (int i = 0; i < FIELDS; i++) {
        char *to = (char *)recipe + fields[i].offset;
        int32_t whole = (int32_t)e.value[i][0];
        if (e.there[i] && fields[i].kind == WHOLE)
            memcpy(to, &whole, sizeof whole);
        else if (e.there[i])
            memcpy(to, e.value[i], (fields[i].kind == RANGE ? 2 : 1) * sizeof(double));
    }
    return MOCO_OK;
}
