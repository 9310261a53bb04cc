/* SPDX-License-Identifier: MIT
 *
 * wait_policy: see wait_policy.h. MOCO_WAIT keeps a program from starting itself again for ever. It also shows its
 * children that the user did not set the other two variables: they do not calibrate again, and --wait given to a
 * child still counts. MOCO_WAIT counts only while it agrees with them. */
#include "wait_policy.h"
#include "program_name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#define SPIN_NS 60000.0
#define SPINS_LEAST 50
#define SPINS_MOST 300000 /* GNU OpenMP's own */

static const char *const names[] = {"auto", "active", "passive"};
static const char *const variables[] = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "MOCO_WAIT"};
enum { VARIABLES = sizeof variables / sizeof variables[0] };

static char text[80] = "not settled";
static enum wait_kind settled = WAIT_GIVEN;
static int one_thread, computing;

/* ---- the decision ---- */

static int same(const char *a, const char *b)
{
    return (a == NULL) == (b == NULL) && (a == NULL || strcmp(a, b) == 0);
}

/* The kind that `ours` names, if the other two still are what it says; -1: it is not there or no longer true. */
static int kind_of_ours(const struct wait_environment *e)
{
    for (int k = 0; e->ours != NULL && k <= WAIT_PASSIVE; k++) {
        size_t n = strlen(names[k]);
        if (strncmp(e->ours, names[k], n) != 0 || (e->ours[n] != 0 && e->ours[n] != ' '))
            continue;
        const char *spins = e->ours[n] == ' ' ? e->ours + n + 1 : NULL;
        int holds = (spins == NULL) == (k == WAIT_ACTIVE) && same(spins, e->spins) &&
                    same(k == WAIT_PASSIVE ? "passive" : NULL, e->policy);
        return holds ? k : -1;
    }
    return -1;
}

static int kind_of(const char *word)
{
    for (int k = 0; k <= WAIT_PASSIVE; k++)
        if (strcmp(word, names[k]) == 0)
            return k;
    return -1;
}

int wait_policy_known(const char *word)
{
    return kind_of(word) >= 0;
}

struct wait_plan wait_policy_plan(const char *wanted, const struct wait_environment *e)
{
    int ours = kind_of_ours(e), given = e->policy != NULL || e->spins != NULL, kind = kind_of(wanted);
    if (kind < 0 && ours < 0 && given)
        return (struct wait_plan){WAIT_GIVEN, 0, 0};
    if (kind < 0)
        kind = ours >= 0 ? ours : WAIT_AUTO;
    return (struct wait_plan){(enum wait_kind)kind, kind != ours && (kind != WAIT_ACTIVE || given), kind == ours};
}

int wait_policy_spins(double ns)
{
    double spins = ns > 0 ? SPIN_NS / ns : SPINS_MOST;
    return spins < SPINS_LEAST ? SPINS_LEAST : spins > SPINS_MOST ? SPINS_MOST : (int)spins;
}

/* ---- this machine ---- */

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* One turn of the loop in which GNU OpenMP waits: a look, and on x86 the instruction `pause`. The least of some
 * measurements, since another program may have had the core in the others. */
static double spin_ns(void)
{
    enum { TURNS = 200, TIMES = 8 };
    static volatile int woken;
    double least = 0;
    for (int time = 0; time < TIMES; time++) {
        double begun = now_ns();
        for (int i = 0; i < TURNS && !woken; i++) {
#if defined(__x86_64__) || defined(__i386__)
            __builtin_ia32_pause();
#else
            __asm__ volatile("" ::: "memory");
#endif
        }
        double ns = (now_ns() - begun) / TURNS;
        if (time == 0 || ns < least)
            least = ns;
    }
    return least;
}

/* The program's own file, if that is what the kernel would start again: not if ld.so was asked to start it, and not
 * under valgrind, which would lose it. */
static int find_program(char *path, size_t size)
{
    char line[4400];
    ssize_t length = readlink("/proc/self/exe", path, size - 1);
    const char *loaded = getenv("LD_PRELOAD");
    if (length <= 0 || (size_t)length >= size - 1 || getauxval(AT_SECURE) != 0 ||
        (loaded != NULL && strstr(loaded, "vgpreload") != NULL))
        return 0;
    path[length] = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    int found = 0;
    while (maps != NULL && !found && fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to, here = (unsigned long)(uintptr_t)&now_ns;
        line[strcspn(line, "\n")] = 0;
        const char *file = strchr(line, '/');
        found = sscanf(line, "%lx-%lx", &from, &to) == 2 && from <= here && here < to && file != NULL &&
                strcmp(file, path) == 0;
    }
    if (maps != NULL)
        fclose(maps);
    return found;
}

static void set(const char *const value[VARIABLES])
{
    for (int i = 0; i < VARIABLES; i++)
        if (value[i] == NULL)
            unsetenv(variables[i]);
        else
            setenv(variables[i], value[i], 1);
}

/* Returns only if it failed, and then the environment is as it was: children start with what holds here. */
static void start_again(const struct wait_plan *plan, char **argv)
{
    char path[4096], spins[16] = "0", ours[40], *before[VARIABLES];
    if (!find_program(path, sizeof path))
        return;
    if (plan->kind == WAIT_AUTO)
        snprintf(spins, sizeof spins, "%d", wait_policy_spins(spin_ns()));
    snprintf(ours, sizeof ours, plan->kind == WAIT_ACTIVE ? "%s" : "%s %s", names[plan->kind], spins);
    for (int i = 0; i < VARIABLES; i++) {
        const char *value = getenv(variables[i]);
        before[i] = value != NULL ? strdup(value) : NULL;
    }
    set((const char *const[]){plan->kind == WAIT_PASSIVE ? "passive" : NULL, plan->kind == WAIT_ACTIVE ? NULL : spins,
                              ours});
    fflush(NULL);
    execv(path, program_line(argv));
    set((const char *const *)before);
    for (int i = 0; i < VARIABLES; i++)
        free(before[i]);
}

static void describe(void)
{
    const char *policy = getenv("OMP_WAIT_POLICY"), *spins = getenv("GOMP_SPINCOUNT");
    if (settled == WAIT_AUTO)
        snprintf(text, sizeof text, "auto, %.12s pauses", spins);
    else if (settled != WAIT_GIVEN)
        snprintf(text, sizeof text, "%s", names[settled]);
    else if (spins != NULL)
        snprintf(text, sizeof text, "GOMP_SPINCOUNT=%.40s", spins);
    else
        snprintf(text, sizeof text, "OMP_WAIT_POLICY=%.40s", policy != NULL ? policy : "");
}

void wait_policy_apply(const char *wanted, int64_t threads, char **argv)
{
    struct wait_environment e = {getenv("OMP_WAIT_POLICY"), getenv("GOMP_SPINCOUNT"), getenv("MOCO_WAIT")};
    struct wait_plan plan = wait_policy_plan(wanted, &e);
    int given = e.policy != NULL || e.spins != NULL;
    one_thread = threads == 1; /* nobody waits */
    computing = (int)threads;
    if (plan.restart && !one_thread) {
        start_again(&plan, argv);
        plan.kind = given ? WAIT_GIVEN : WAIT_ACTIVE; /* it failed */
    } else if (plan.restart) {
        plan.kind = WAIT_GIVEN;
    } else if (plan.kind == WAIT_ACTIVE && !plan.again) {
        setenv("MOCO_WAIT", names[WAIT_ACTIVE], 1); /* for children */
    }
    settled = plan.kind;
    if (one_thread)
        snprintf(text, sizeof text, "one thread");
    else
        describe();
}

const char *wait_policy_text(void)
{
    return text;
}

int wait_policy_adapts(void)
{
    return settled == WAIT_AUTO && !one_thread;
}

int wait_policy_threads(void)
{
    return computing;
}

const char *wait_policy_advice(void)
{
    const char *policy = getenv("OMP_WAIT_POLICY"), *spins = getenv("GOMP_SPINCOUNT");
    int sleeps = settled == WAIT_PASSIVE || (settled == WAIT_GIVEN && spins != NULL && atof(spins) < 1) ||
                 (settled == WAIT_GIVEN && spins == NULL && policy != NULL && (policy[0] | 32) == 'p');
    return one_thread ? "" : sleeps ? "--threads 1" : settled == WAIT_AUTO ? "--wait passive" : "--wait auto";
}
