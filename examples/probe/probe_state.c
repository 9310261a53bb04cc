/* SPDX-License-Identifier: MIT
 *
 * probe_state: see probe_state.h. Numbers are written with 17 digits, which read back as the same double. */
#include "probe_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE 160

int64_t probe_state_best(const struct probe_state *s)
{
    int64_t best = -1;
    for (int64_t i = 0; i < s->count; i++)
        if (best < 0 || s->epoch[i].top1 > s->epoch[best].top1)
            best = i;
    return best;
}

moco_status probe_state_add(struct probe_state *s, const struct probe_epoch *epoch, struct err *err)
{
    if (s->count == s->room) {
        int64_t room = s->room * 2 + 16;
        struct probe_epoch *grown = realloc(s->epoch, (size_t)room * sizeof *grown);
        if (grown == NULL)
            return err_set(err, MOCO_ENOMEM, "out of memory");
        s->epoch = grown;
        s->room = room;
    }
    s->epoch[s->count++] = *epoch;
    return MOCO_OK;
}

moco_status probe_state_write(const struct probe_state *s, char **note, struct err *err)
{
    size_t size = strlen(s->head) + (size_t)(s->count + 2) * LINE, used;
    *note = malloc(size);
    if (*note == NULL)
        return err_set(err, MOCO_ENOMEM, "out of memory");
    used = (size_t)snprintf(*note, size, "%s", s->head);
    for (int64_t i = 0; i < s->count; i++)
        used += (size_t)snprintf(*note + used, size - used, "epoch %.17g %.17g %.17g %.17g\n", s->epoch[i].loss,
                                 s->epoch[i].train_top1, s->epoch[i].top1, s->epoch[i].top5);
    snprintf(*note + used, size - used, "position %lld %.17g %.17g %lld %lld\n", (long long)s->position, s->loss,
             s->right, (long long)s->images, (long long)s->unreadable);
    return MOCO_OK;
}

static moco_status differs(const char *path, const char *theirs, const char *ours, struct err *err)
{
    while (*ours != 0) {
        size_t a = strcspn(theirs, "\n"), b = strcspn(ours, "\n");
        if (a != b || memcmp(theirs, ours, a) != 0)
            return err_set(
                err, MOCO_EINVAL,
                "%.150s was made with \"%.*s\", and this run has \"%.*s\"; give it the same, or another --out", path,
                (int)(a < 120 ? a : 120), theirs, (int)(b < 120 ? b : 120), ours);
        theirs += a + (theirs[a] != 0);
        ours += b + (ours[b] != 0);
    }
    return MOCO_OK;
}

int probe_note_has(const char *note, const char *key, const char *value)
{
    size_t of_key = strlen(key), of_value = strlen(value);
    for (const char *line = note; *line != 0; line += strcspn(line, "\n"), line += *line == '\n')
        if (strncmp(line, key, of_key) == 0 && line[of_key] == ' ' &&
            strncmp(line + of_key + 1, value, of_value) == 0 && line[of_key + 1 + of_value] == '\n')
            return 1;
    return 0;
}

static int is_percent(double value)
{
    /* not so of NaN */
    return value >= 0 && value <= 100;
}

moco_status probe_state_read(struct probe_state *s, const char *path, const char *note, struct err *err)
{
    TRY(differs(path, note, s->head, err));
    if (strncmp(note, s->head, strlen(s->head)) != 0) /* the same lines, but for the end of the last */
        return err_set(err, MOCO_EFORMAT, "%.300s: its note is cut", path);
    s->count = 0;
    for (const char *line = note + strlen(s->head); *line != 0; line += strcspn(line, "\n"), line += *line == '\n') {
        struct probe_epoch e;
        long long position, images, unreadable;
        int numbers;
        double loss, right;
        if (sscanf(line, "epoch %lf %lf %lf %lf", &e.loss, &e.train_top1, &e.top1, &e.top5) == 4 &&
            is_percent(e.train_top1) && is_percent(e.top1) && is_percent(e.top5)) {
            TRY(probe_state_add(s, &e, err));
        } else if ((numbers = sscanf(line, "position %lld %lf %lf %lld %lld", &position, &loss, &right, &images,
                                     &unreadable)) >= 3 &&
                   position >= 0 && (numbers == 3 || (images >= 0 && images <= position && unreadable >= 0))) {
            s->position = position;
            s->images = numbers > 3 ? images : position; /* before images were left out, these were the same */
            s->unreadable = numbers > 4 ? unreadable : 0;
            s->loss = loss;
            s->right = right;
        } else {
            return err_set(err, MOCO_EFORMAT, "%.300s: its note is not that of a state file of linear_probe", path);
        }
    }
    return MOCO_OK;
}

void probe_state_free(struct probe_state *s)
{
    free(s->epoch);
    *s = (struct probe_state){0};
}
