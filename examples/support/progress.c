/* SPDX-License-Identifier: MIT
 *
 * progress: see progress.h. */
#include "progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "human.h"

#define REWRITE_SECONDS 0.2
#define COLUMNS 80 /* of a terminal that does not tell */
#define LINE_SIZE (PROGRESS_FIELDS * sizeof((struct progress *)0)->field[0])

enum { EPOCH, STEP, LOSS, CHANCE, ACC1, ACC5, LR, SPEED, WAIT, ETA };

int progress_on_terminal(int fd)
{
    const char *kind = getenv("TERM");
    return isatty(fd) && (kind == NULL || strcmp(kind, "dumb") != 0);
}

void progress_init(struct progress *p, int64_t every, int64_t images_per_step)
{
    *p = (struct progress){.every = every, .images_per_step = images_per_step};
    p->terminal = progress_on_terminal(STDOUT_FILENO);
    p->mark = seconds_now();
}

void progress_mark(struct progress *p, int64_t step, double wait_seconds)
{
    p->mark = seconds_now();
    p->mark_step = step;
    p->mark_wait = wait_seconds;
}

/* Columns of the terminal, however it was resized since. */
static int columns(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : COLUMNS;
}

void progress_show(const char *format, ...)
{
    char line[LINE_SIZE];
    int room = columns() - 1;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    printf("\r\033[K%.*s", room, line);
    fflush(stdout);
}

/* Fields in the order in which they give way. */
static const int gives_way[] = {ACC5, LR, CHANCE, WAIT, ACC1, SPEED, EPOCH, ETA, LOSS};

/* Joins the fields of which no more than `room` columns are left. All of it is ASCII: a byte is a column. */
static void join(const struct progress *p, size_t room, char *line, size_t size)
{
    int out[PROGRESS_FIELDS] = {0};
    size_t length = 0;
    for (int i = 0; i < PROGRESS_FIELDS; i++)
        length += strlen(p->field[i]);
    for (size_t i = 0; i < sizeof gives_way / sizeof gives_way[0] && length > room; i++) {
        out[gives_way[i]] = 1;
        length -= strlen(p->field[gives_way[i]]);
    }
    line[0] = 0;
    for (int i = 0; i < PROGRESS_FIELDS; i++)
        if (!out[i])
            snprintf(line + strlen(line), size - strlen(line), "%s", p->field[i]);
    size_t lead = strspn(line, " "); /* each field brings the space before it */
    memmove(line, line + lead, strlen(line + lead) + 1);
    if (strlen(line) > room)
        line[room] = 0;
}

static void rewrite(struct progress *p, const char *tail)
{
    char line[LINE_SIZE];
    int width = columns() - 1; /* the last column stays free: some terminals go on to the next row with it */
    int kept = (int)strlen(tail) <= width ? (int)strlen(tail) : 0;
    join(p, width > kept ? (size_t)(width - kept) : 0, line, sizeof line);
    printf("\r\033[K%s%.*s", line, kept, tail);
    fflush(stdout);
    p->open = 1;
    p->shown = seconds_now();
}

static void set(struct progress *p, int field, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;
static void set(struct progress *p, int field, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(p->field[field], sizeof p->field[field], format, arguments);
    va_end(arguments);
}

static void describe(struct progress *p, const struct progress_step *s)
{
    const moco_step_report *r = s->report;
    set(p, EPOCH, "epoch %lld/%lld", (long long)s->epoch, (long long)s->epochs);
    set(p, STEP, "  step %lld/%lld", (long long)s->at, (long long)s->of);
    set(p, LOSS, "  loss %.4f", r->loss);
    set(p, CHANCE, " (chance %.2f)", r->chance_loss);
    set(p, ACC1, "  acc1 %.1f", r->acc1);
    set(p, ACC5, "  acc5 %.1f", r->acc5);
    set(p, LR, "  lr %.4g", r->lr);
    if (r->skipped > 0) /* of fp16: beside the rate, which did not apply to them */
        set(p, LR, "  lr %.4g  skipped %lld", r->lr, (long long)r->skipped);
    set(p, SPEED, "  %.1f img/s", p->rate * (double)p->images_per_step);
    set(p, WAIT, "  wait %.0f%%", 100 * p->wait);
    set(p, ETA, "  ETA %s", p->rate > 0 ? human_seconds((double)s->left / p->rate) : "?");
}

void progress_step(struct progress *p, const struct progress_step *s)
{
    const moco_step_report *r = s->report;
    double now = seconds_now(), passed = now - p->mark;
    int64_t steps = r->step - p->mark_step;
    int due = r->step % p->every == 0 || s->at == s->of || s->left == 0;
    if (!due && !(p->terminal && now - p->shown >= REWRITE_SECONDS))
        return;
    if (steps > 0 && passed > 0) {
        p->rate = (double)steps / passed;
        p->wait = (s->wait_seconds - p->mark_wait) / passed;
    }
    describe(p, s);
    if (p->terminal) {
        rewrite(p, "");
    } else {
        char line[LINE_SIZE];
        join(p, sizeof line, line, sizeof line);
        printf("%s\n", line);
        fflush(stdout);
    }
    if (due)
        progress_mark(p, r->step, s->wait_seconds);
}

void progress_launch(struct progress *p, int done, int of)
{
    if (!p->terminal || of < 2 || seconds_now() - p->shown < 1)
        return;
    char tail[48];
    snprintf(tail, sizeof tail, "  [%d/%d]", done, of);
    rewrite(p, tail);
}

void progress_break(struct progress *p)
{
    if (p->open)
        printf("\n");
    p->open = 0;
    fflush(stdout);
}

void progress_say(struct progress *p, const char *format, ...)
{
    va_list arguments;
    if (p->open)
        printf("\r\033[K");
    p->open = 0;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    fflush(stdout);
}
