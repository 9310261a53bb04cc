/* SPDX-License-Identifier: MIT
 *
 * beside: how long a training step takes beside another process that trains, against one alone, as one JSON object.
 *
 *   build/bench/beside [--network small] [--wait auto] [--seconds 3] [--rounds 5] [--threads N]
 *
 * network: small (the demo's, f32) or resnet50 (224 px, groups of 16, the device's best precision). wait: as the
 * programs' --wait, or a number of pauses for GOMP_SPINCOUNT. In each round one process trains alone as OpenMP comes,
 * one alone as `wait` says, and two at once, each for so many seconds after it is ready. alone_ms and beside_ms are
 * medians of the rounds, the latter of the slower of the two; times is the median of their ratios within a round and
 * of_default that of one alone against one alone as OpenMP comes. What a reader would get wrong: ratios say something
 * only on a machine that does nothing else. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/support/timing.h"
#include "moco/moco.h"
#include "support/wait_beside.h"
#include "support/wait_policy.h"

struct options {
    const char *network, *wait, *child;
    double seconds;
    int threads, rounds;
};

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "beside: %s: %s\n", what, why);
    return 1;
}

/* ---- a process that trains ---- */

struct training {
    moco_context *context;
    moco_device *device;
    moco_model *model;
    moco_queue *queue;
    moco_trainer *trainer;
    moco_batch batch;
};

static moco_status set_up(struct training *t, const struct options *o)
{
    int large = strcmp(o->network, "resnet50") == 0;
    const char *preset = large ? "moco-v2" : "demo";
    moco_context_options context;
    moco_model_options model;
    moco_trainer_options trainer;
    moco_context_options_init(&context);
    context.threads = o->threads;
    moco_status status = moco_model_options_preset(&model, preset);
    if (status == MOCO_OK)
        status = moco_trainer_options_preset(&trainer, preset);
    if (status != MOCO_OK)
        return status;
    trainer.precision = large ? MOCO_PRECISION_AUTO : MOCO_PRECISION_F32;
    if (large)
        trainer.batch_size = trainer.bn_group_size = 16;
    if ((status = moco_context_create(&t->context, &context)) != MOCO_OK ||
        (status = moco_device_open(&t->device, t->context, "cpu")) != MOCO_OK ||
        (status = moco_model_create(&t->model, t->device, &model)) != MOCO_OK ||
        (status = moco_queue_create(&t->queue, t->device, model.dim, 4096, 1)) != MOCO_OK ||
        (status = moco_trainer_create(&t->trainer, t->model, t->queue, &trainer)) != MOCO_OK)
        return status;
    size_t bytes = (size_t)trainer.batch_size * (size_t)trainer.image_h * (size_t)trainer.image_w * 3;
    moco_batch_init(&t->batch);
    t->batch.n = trainer.batch_size;
    t->batch.h = trainer.image_h;
    t->batch.w = trainer.image_w;
    t->batch.views = 2;
    for (int v = 0; v < 2; v++) {
        uint8_t *view = malloc(bytes);
        if (view == NULL)
            return MOCO_ENOMEM;
        for (size_t i = 0; i < bytes; i++)
            view[i] = (uint8_t)((i + (size_t)v) * i >> 3);
        t->batch.view[v] = view;
    }
    return MOCO_OK;
}

/* Says how it waits, waits for the word, trains, says how long a step took. */
static int child(const struct options *o, char **argv)
{
    static struct training t;
    double begun, now;
    int steps = -2; /* the first ones make primitives and touch memory */
    wait_policy_apply(wait_policy_known(o->wait) ? o->wait : "", o->threads, argv);
    if (set_up(&t, o) != MOCO_OK)
        return fail("set-up", moco_error());
    for (begun = now = 0; steps < 1 || now - begun < 1e3 * o->seconds; steps++) {
        if (steps == 0) {
            printf("%s\n", wait_policy_text());
            fflush(stdout);
            if (getchar() == EOF)
                return 1;
            begun = now_ms();
        }
        if (moco_trainer_step(t.trainer, &t.batch, 1e-4) != MOCO_OK)
            return fail("step", moco_error());
        wait_beside_step();
        now = now_ms();
    }
    printf("%.4f\n", (now - begun) / steps);
    return 0;
}

/* ---- the parent ---- */

struct process {
    pid_t pid;
    FILE *to, *from;
    char policy[80];
};

static int start(struct process *p, const struct options *o, const char *wait)
{
    int in[2], out[2];
    char seconds[32], threads[16];
    if (pipe(in) != 0 || pipe(out) != 0)
        return fail("pipe", strerror(errno));
    p->pid = fork();
    if (p->pid < 0)
        return fail("fork", strerror(errno));
    if (p->pid == 0) {
        snprintf(seconds, sizeof seconds, "%.3f", o->seconds);
        snprintf(threads, sizeof threads, "%d", o->threads);
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        close(in[1]);
        close(out[0]);
        unsetenv("OMP_WAIT_POLICY");
        unsetenv("MOCO_WAIT");
        if (wait_policy_known(wait))
            unsetenv("GOMP_SPINCOUNT");
        else
            setenv("GOMP_SPINCOUNT", wait, 1);
        execl("/proc/self/exe", "beside", "--child", "1", "--network", o->network, "--wait", wait, "--seconds", seconds,
              "--threads", threads, NULL);
        _exit(fail("exec", strerror(errno)));
    }
    close(in[0]);
    close(out[1]);
    p->to = fdopen(in[1], "w");
    p->from = fdopen(out[0], "r");
    if (p->to == NULL || p->from == NULL || fgets(p->policy, sizeof p->policy, p->from) == NULL)
        return fail("a process that should train", "ended");
    p->policy[strcspn(p->policy, "\n")] = 0;
    return 0;
}

/* Starts `count` processes, lets them go together; *ms is what a step of the slowest takes. */
static int run(const struct options *o, const char *wait, int count, char policy[80], double *ms)
{
    struct process p[2] = {0};
    int bad = 0;
    *ms = 0;
    for (int i = 0; i < count; i++)
        if (start(&p[i], o, wait) != 0)
            return 1;
    for (int i = 0; i < count; i++) {
        fputc('\n', p[i].to);
        fflush(p[i].to);
    }
    for (int i = 0; i < count; i++) {
        double one = 0;
        int status;
        bad |= fscanf(p[i].from, "%lf", &one) != 1;
        *ms = one > *ms ? one : *ms;
        fclose(p[i].to);
        fclose(p[i].from);
        bad |= waitpid(p[i].pid, &status, 0) != p[i].pid || status != 0;
    }
    memcpy(policy, p[0].policy, 80);
    return bad ? fail("a process that should train", "failed") : 0;
}

static int parent(const struct options *o)
{
    double usual[TIMING_MAX], alone[TIMING_MAX], beside[TIMING_MAX], times[TIMING_MAX], of_default[TIMING_MAX];
    char policy[80];
    for (int i = 0; i < o->rounds; i++) {
        if (run(o, "active", 1, policy, &usual[i]) != 0 || run(o, o->wait, 2, policy, &beside[i]) != 0 ||
            run(o, o->wait, 1, policy, &alone[i]) != 0)
            return 1;
        times[i] = beside[i] / alone[i];
        of_default[i] = alone[i] / usual[i];
    }
    printf(
        "{\"bench\": \"beside\", \"network\": \"%s\", \"wait\": \"%s\", \"threads\": %d, \"rounds\": %d, "
        "\"default_alone_ms\": %.2f, \"alone_ms\": %.2f, \"beside_ms\": %.2f, \"times\": %.3f, \"of_default\": %.3f}\n",
        o->network, policy, o->threads, o->rounds, median(usual, o->rounds), median(alone, o->rounds),
        median(beside, o->rounds), median(times, o->rounds), median(of_default, o->rounds));
    return 0;
}

int main(int argc, char **argv)
{
    struct options o = {.network = "small", .wait = "auto", .seconds = 3, .rounds = 5};
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(name, "--network") == 0 && (strcmp(value, "small") == 0 || strcmp(value, "resnet50") == 0))
            o.network = value;
        else if (strcmp(name, "--wait") == 0 && (wait_policy_known(value) || atoi(value) >= 0))
            o.wait = value;
        else if (strcmp(name, "--seconds") == 0 && atof(value) > 0)
            o.seconds = atof(value);
        else if (strcmp(name, "--rounds") == 0 && atoi(value) > 0 && atoi(value) <= TIMING_MAX)
            o.rounds = atoi(value);
        else if (strcmp(name, "--threads") == 0)
            o.threads = atoi(value);
        else if (strcmp(name, "--child") == 0)
            o.child = value;
        else {
            fprintf(stderr,
                    "beside [--network small|resnet50] [--wait auto|active|passive|PAUSES] [--seconds S] [--rounds "
                    "N] [--threads N]\n");
            return 2;
        }
    }
    return o.child != NULL ? child(&o, argv) : parent(&o);
}
