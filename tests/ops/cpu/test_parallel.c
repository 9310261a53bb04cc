/* SPDX-License-Identifier: MIT
 *
 * test_parallel: the team of the cpu device where OpenMP delivers fewer threads than planned. The program runs itself
 * again under each setting, since OpenMP reads its environment once; an alarm ends what hangs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#ifdef MOCO_HAVE_ONEDNN

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/cpu/kernels/parallel.h"

enum { THREADS = 3, AS_EXPECTED = 0, OTHERWISE = 1 };

/* OpenMP as a host would use it; declared here since only parallel.c is compiled with -fopenmp. */
int omp_get_max_threads(void);
void omp_set_num_threads(int threads);
int omp_get_dynamic(void);
void omp_set_dynamic(int on);

static atomic_int calls[THREADS + 1], strangers;

static void count(void *arg, int thread, int threads)
{
    (void)arg;
    if (threads != THREADS || thread < 0 || thread >= threads)
        atomic_fetch_add(&strangers, 1);
    else
        atomic_fetch_add(&calls[thread], 1);
}

static int every_part_once(void)
{
    for (int i = 0; i < THREADS; i++)
        atomic_store(&calls[i], 0);
    parallel_run(THREADS, count, NULL);
    for (int i = 0; i < THREADS; i++)
        if (atomic_load(&calls[i]) != 1)
            return 0;
    return atomic_load(&strangers) == 0;
}

static int settings(int threads, int dynamic)
{
    return omp_get_max_threads() == threads && (omp_get_dynamic() != 0) == (dynamic != 0);
}

/* The team is refused with a sentence that holds `why`, and the host's settings stay. */
static int refused(const char *why)
{
    struct parallel_scope scope;
    struct err err = {0};
    int threads = omp_get_max_threads(), dynamic = omp_get_dynamic();
    moco_status status = parallel_enter(&scope, THREADS, &err);
    return status == MOCO_ESTATE && strstr(err.text, why) != NULL && settings(threads, dynamic);
}

static int delivered(void)
{
    struct parallel_scope scope;
    struct err err = {0};
    int threads = omp_get_max_threads(), dynamic = omp_get_dynamic();
    if (parallel_enter(&scope, THREADS, &err) != MOCO_OK)
        return 0;
    int well = settings(THREADS, 0) && parallel_check(THREADS, &err) == MOCO_OK && every_part_once();
    parallel_leave(&scope);
    return well && settings(threads, dynamic);
}

static atomic_int inside_refused, inside_alone;

static void call_inside(void *arg, int thread, int threads)
{
    (void)arg, (void)thread, (void)threads;
    struct parallel_scope scope;
    struct err err = {0};
    atomic_fetch_add(&inside_refused, refused("inside an OpenMP parallel region"));
    if (parallel_enter(&scope, 1, &err) == MOCO_OK) { /* one thread is always there */
        atomic_fetch_add(&inside_alone, 1);
        parallel_leave(&scope);
    }
}

/* What the program does when it runs itself. */
static int child(const char *what)
{
    alarm(60);
    if (strcmp(what, "limit") == 0)
        return refused("OMP_THREAD_LIMIT") ? AS_EXPECTED : OTHERWISE;
    if (strcmp(what, "levels") == 0)
        return refused("OMP_MAX_ACTIVE_LEVELS") ? AS_EXPECTED : OTHERWISE;
    if (strcmp(what, "short") == 0) /* a team that shrinks after it was counted still does all parts */
        return every_part_once() ? AS_EXPECTED : OTHERWISE;
    if (strcmp(what, "dynamic") == 0)
        return omp_get_dynamic() && delivered() ? AS_EXPECTED : OTHERWISE;
    parallel_run(THREADS, call_inside, NULL); /* inside; nested teams allowed or not */
    return atomic_load(&inside_refused) == THREADS && atomic_load(&inside_alone) == THREADS ? AS_EXPECTED : OTHERWISE;
}

static void again(const char *what, const char *name, const char *value)
{
    pid_t pid = fork();
    if (pid == 0) {
        setenv("OMP_WAIT_POLICY", "passive", 1);
        setenv(name, value, 1);
        execl("/proc/self/exe", "test_parallel", what, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != AS_EXPECTED)
        fail_msg("%s with %s=%s: wait status %d", what, name, value, status);
}

static void thread_limit(void **state)
{
    (void)state;
    again("limit", "OMP_THREAD_LIMIT", "1");
    again("limit", "OMP_THREAD_LIMIT", "2");
    again("short", "OMP_THREAD_LIMIT", "1");
    again("short", "OMP_THREAD_LIMIT", "2");
}

static void active_levels(void **state)
{
    (void)state;
    again("levels", "OMP_MAX_ACTIVE_LEVELS", "0");
    again("short", "OMP_MAX_ACTIVE_LEVELS", "0");
}

static void dynamic(void **state)
{
    (void)state;
    again("dynamic", "OMP_DYNAMIC", "true");
}

static void inside(void **state)
{
    (void)state;
    again("inside", "OMP_MAX_ACTIVE_LEVELS", "1");
    again("inside", "OMP_MAX_ACTIVE_LEVELS", "4");
}

static void ordinary(void **state)
{
    (void)state;
    omp_set_num_threads(2);
    omp_set_dynamic(1);
    assert_true(delivered());
    omp_set_num_threads(5);
    omp_set_dynamic(0);
    assert_true(delivered());
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return child(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thread_limit), cmocka_unit_test(active_levels), cmocka_unit_test(dynamic),
        cmocka_unit_test(inside),       cmocka_unit_test(ordinary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else
int main(void)
{
    return 0;
}
#endif
