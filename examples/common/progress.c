/* SPDX-License-Identifier: MIT
 *
 * progress: see progress.h. */
#include "progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "human.h"

#define REWRITE_SECONDS 0.2

void progress_init(struct progress *p, int64_t every, int64_t images_per_step)
{
    *p = (struct progress){.every = every, .images_per_step = images_per_step};
    p->terminal = isatty(STDOUT_FILENO);
    p->mark = seconds_now();
}

void progress_mark(struct progress *p, int64_t step, double wait_seconds)
{
    p->mark = seconds_now();
    p->mark_step = step;
    p->mark_wait = wait_seconds;
}

static void rewrite(struct progress *p, const char *tail)
{
    printf("\r\033[K%s%s", p->line, tail);
    fflush(stdout);
    p->open = 1;
    p->shown = seconds_now();
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
    snprintf(p->line, sizeof p->line,
             "epoch %lld/%lld  step %lld/%lld  loss %.4f (chance %.2f)  acc1 %.1f  acc5 %.1f  lr %.4g  %.1f img/s  "
             "wait %.0f%%  ETA %s",
             (long long)s->epoch, (long long)s->epochs, (long long)s->at, (long long)s->of, r->loss, r->chance_loss,
             r->acc1, r->acc5, r->lr, p->rate * (double)p->images_per_step, 100 * p->wait,
             p->rate > 0 ? human_seconds((double)s->left / p->rate) : "?");
    if (p->terminal) {
        rewrite(p, "");
    } else {
        printf("%s\n", p->line);
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
