/* SPDX-License-Identifier: MIT
 *
 * contention: see contention.h. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "contention.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "human.h"

#define LOOK_EVERY 10.0     /* seconds */
#define IDLE_AT_MOST 0.1    /* of the processors: with more to spare nobody waits for one */
#define SHARE_AT_LEAST 0.15 /* that others took */
/* Times a second. On idle cores it is below 1, and what runs at a low priority hardly adds to it. */
#define PREEMPTED_AT_LEAST 20.0

double contention_share(const struct contention_use *use)
{
    double capacity = use->seconds * use->processors;
    if (capacity <= 0 || use->all < use->own)
        return 0;
    double others = (use->all - use->own) / capacity, idle = 1 - use->all / capacity;
    if (idle > IDLE_AT_MOST || others < SHARE_AT_LEAST || (double)use->preempted < PREEMPTED_AT_LEAST * use->seconds)
        return 0;
    return others < 1 ? others : 1;
}

void contention_sentence(double share, const char *advice, char *text, size_t size)
{
    snprintf(text, size,
             "other programs take %.0f %% of the processors, and a step waits for the slowest of its threads: %s%s"
             "a lower priority for them (nice) loses less time",
             100 * share, advice, advice[0] != 0 ? ", or " : "");
}

/* Sums up what /proc/stat says of the processors that this process may use; 0: it does not say. */
static int read_processors(struct contention_use *use)
{
    cpu_set_t mine;
    char line[512];
    double tick = (double)sysconf(_SC_CLK_TCK);
    if (sched_getaffinity(0, sizeof mine, &mine) != 0 || tick <= 0)
        return 0;
    FILE *f = fopen("/proc/stat", "re");
    if (f == NULL)
        return 0;
    while (fgets(line, sizeof line, f) != NULL) {
        int cpu;
        unsigned long long user, nice, system, idle, iowait, irq, softirq, steal;
        if (sscanf(line, "cpu%d %llu %llu %llu %llu %llu %llu %llu %llu", &cpu, &user, &nice, &system, &idle, &iowait,
                   &irq, &softirq, &steal) != 9 ||
            cpu < 0 || cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &mine))
            continue;
        use->processors++;
        use->all += (double)(user + nice + system + irq + softirq + steal) / tick;
    }
    fclose(f);
    return use->processors > 0;
}

int contention_read(struct contention_use *use)
{
    struct rusage r;
    memset(use, 0, sizeof *use);
    if (getrusage(RUSAGE_SELF, &r) != 0 || !read_processors(use))
        return 0;
    use->seconds = seconds_now();
    use->own = (double)r.ru_utime.tv_sec + (double)r.ru_stime.tv_sec +
               1e-6 * ((double)r.ru_utime.tv_usec + (double)r.ru_stime.tv_usec);
    use->preempted = r.ru_nivcsw;
    return 1;
}

void contention_between(const struct contention_use *from, const struct contention_use *to,
                        struct contention_use *passed)
{
    *passed = (struct contention_use){to->seconds - from->seconds, to->own - from->own, to->all - from->all,
                                      to->processors, to->preempted - from->preempted};
}

const char *contention_step(struct contention *c, const char *advice)
{
    struct contention_use now, passed;
    if (c->said || (c->started && seconds_now() - c->at.seconds < LOOK_EVERY))
        return NULL;
    if (!contention_read(&now)) {
        c->said = 1; /* it will not tell later, either */
        return NULL;
    }
    contention_between(&c->at, &now, &passed);
    double share = c->started && now.processors == c->at.processors ? contention_share(&passed) : 0;
    c->at = now;
    c->started = 1;
    c->shared = share > 0 ? c->shared + 1 : 0;
    if (c->shared < 2)
        return NULL;
    c->said = 1;
    contention_sentence(share, advice, c->text, sizeof c->text);
    return c->text;
}
