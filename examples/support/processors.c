/* SPDX-License-Identifier: MIT
 *
 * processors: see processors.h. */
#include "processors.h"

#include <pthread.h>
#include <time.h>

#include "human.h"

#define SECONDS 0.1
#define THREADS_MAX 256

static double own_seconds(void)
{
    struct timespec used;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) != 0)
        return 0;
    return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
}

/* Part of the time that passed for this thread alone. */
static void *spin(void *share)
{
    double begun = seconds_now(), before = own_seconds(), passed = 0;
    while (passed < SECONDS)
        passed = seconds_now() - begun;
    double used = (own_seconds() - before) / passed;
    *(double *)share = used > 0 && used < 1 ? used : 1;
    return NULL;
}

double processors_share(int threads)
{
    pthread_t thread[THREADS_MAX];
    double share[THREADS_MAX], sum = 0;
    int count = threads < 1 ? 1 : threads < THREADS_MAX ? threads : THREADS_MAX, begun = 1;
    while (begun < count && pthread_create(&thread[begun], NULL, spin, &share[begun]) == 0)
        begun++;
    spin(&share[0]);
    for (int i = 1; i < begun; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < begun; i++)
        sum += share[i];
    return sum / begun;
}
