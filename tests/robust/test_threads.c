/* SPDX-License-Identifier: MIT
 *
 * test_threads: the cpu device where threads cannot be had: limits on processes and memory, OpenMP's own settings, and
 * forked children, whose parent's threads are not there. The library answers with a sentence whose advice works, and
 * the process goes on. What a reader would get wrong: libgomp would end the process, or wait for ever, so that every
 * part runs in a child, under an alarm; and this process must not compute itself before the children that may. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#ifdef MOCO_HAVE_ONEDNN

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "moco/moco.h"
#include "support/not_tested.h"

enum { GOOD, BAD, NOT_HERE };

#define WRONG(...) (fprintf(stderr, __VA_ARGS__), fprintf(stderr, " (line %d)\n", __LINE__), BAD)

/* ---- a model on so many threads ---- */

struct rig {
    moco_context *context;
    moco_device *device;
    moco_model *model;
};

static void rig_free(struct rig *rig)
{
    moco_model_free(rig->model);
    moco_device_free(rig->device);
    moco_context_free(rig->context);
    *rig = (struct rig){0};
}

static moco_status rig_make(struct rig *rig, int threads)
{
    moco_context_options context;
    moco_model_options model;
    *rig = (struct rig){0};
    moco_context_options_init(&context);
    context.threads = threads;
    moco_model_options_init(&model);
    model.arch = "resnet18";
    model.stem = "small";
    model.width = 1.0 / 64;
    model.dim = 4;
    moco_status status = moco_context_create(&rig->context, &context);
    if (status == MOCO_OK)
        status = moco_device_open(&rig->device, rig->context, "cpu");
    if (status == MOCO_OK)
        status = moco_model_create(&rig->model, rig->device, &model);
    if (status != MOCO_OK)
        rig_free(rig);
    return status;
}

static moco_status rig_embed(struct rig *rig)
{
    static const uint8_t pixels[2][8][8][3];
    float out[2][4];
    moco_tensor images, rows;
    moco_tensor_init(&images);
    images.dtype = MOCO_U8;
    images.ndim = 4;
    images.shape[0] = 2;
    images.shape[1] = images.shape[2] = 8;
    images.shape[3] = 3;
    images.data = (void *)(uintptr_t)pixels;
    moco_tensor_init(&rows);
    rows.dtype = MOCO_F32;
    rows.ndim = 2;
    rows.shape[0] = 2;
    rows.shape[1] = 4;
    rows.data = out;
    return moco_model_embed(rig->model, &images, MOCO_PROJECTION, &rows);
}

/* Computes on so many threads and is done with it. */
static moco_status compute(int threads)
{
    struct rig rig;
    moco_status status = rig_make(&rig, threads);
    if (status == MOCO_OK)
        status = rig_embed(&rig);
    rig_free(&rig);
    return status;
}

static int works(int threads)
{
    moco_status status = compute(threads);
    return status == MOCO_OK ? GOOD : WRONG("%d threads: %s: %s", threads, moco_status_text(status), moco_error());
}

static int refused(int threads, const char *why)
{
    moco_status status = compute(threads);
    if (status == MOCO_ESTATE && strstr(moco_error(), why) != NULL)
        return GOOD;
    return WRONG("%d threads: %s: %s; expected: %s", threads, moco_status_text(status), moco_error(), why);
}

/* ---- limits ---- */

static void *nothing(void *arg)
{
    return arg;
}

/* So many processes and threads for this user; NOT_HERE if the system does not hold to it. */
/* A user whom nobody else is: the limit counts all processes of a user, also those of another test beside this one. */
static uid_t lonely_user(void)
{
    return 100000 + (uid_t)getpid();
}

static int limit_processes(rlim_t count)
{
    static int dropped;
    struct rlimit limit;
    if (!dropped && getuid() == 0 && setuid(lonely_user()) != 0)
        return NOT_HERE;
    dropped = 1;
    if (getrlimit(RLIMIT_NPROC, &limit) != 0)
        return NOT_HERE;
    limit.rlim_cur = count < limit.rlim_max ? count : limit.rlim_max;
    return setrlimit(RLIMIT_NPROC, &limit) == 0 ? GOOD : NOT_HERE;
}

static int no_more_threads(void)
{
    pthread_t thread;
    if (limit_processes(1) != GOOD)
        return NOT_HERE;
    if (pthread_create(&thread, NULL, nothing, NULL) != 0)
        return GOOD;
    pthread_join(thread, NULL);
    return NOT_HERE;
}

static const char limited[] = "the system starts only 1 ";

static int under_a_process_limit(void)
{
    int here = no_more_threads();
    if (here != GOOD)
        return here;
    if (refused(2, limited) || refused(3, limited) || works(1)) /* fewer threads: the advice */
        return BAD;
    if (limit_processes(4096) != GOOD) /* the other advice */
        return NOT_HERE;
    return works(2);
}

/* Limits from too low up: the first that is enough is enough for all that follows. */
static int limits_around_a_team(void)
{
    enum { TEAM = 4, LAST = 16 };
    struct rig rig;
    for (rlim_t count = 1; count <= LAST; count++) {
        if (limit_processes(count) != GOOD)
            return NOT_HERE;
        moco_status status = rig_make(&rig, TEAM);
        if (status == MOCO_ESTATE && strstr(moco_error(), "the system starts only ") != NULL)
            continue;
        if (count < TEAM)
            return NOT_HERE; /* the system does not hold to the limit */
        for (int i = 0; i < 100 && status == MOCO_OK; i++)
            status = rig_embed(&rig);
        return status == MOCO_OK ? GOOD : WRONG("limit %d: %s", (int)count, moco_error());
    }
    return WRONG("%d processes are not enough for a team of %d", (int)LAST, (int)TEAM);
}

struct other {
    pthread_t thread;
    pthread_barrier_t go;
    int threads, result;
};

static void *compute_when_told(void *arg)
{
    struct other *other = arg;
    pthread_barrier_wait(&other->go);
    other->result = refused(other->threads, limited);
    return NULL;
}

/* What has its threads keeps them; another calling thread, and a wider team, would need more. */
static int a_limit_that_comes_later(void)
{
    struct rig rig;
    struct other other = {.threads = 2};
    pthread_barrier_init(&other.go, NULL, 2);
    if (rig_make(&rig, 2) != MOCO_OK || rig_embed(&rig) != MOCO_OK)
        return WRONG("%s", moco_error());
    if (pthread_create(&other.thread, NULL, compute_when_told, &other) != 0)
        return WRONG("no second thread");
    int here = no_more_threads();
    if (here == GOOD) {
        pthread_barrier_wait(&other.go);
        pthread_join(other.thread, NULL);
        if (other.result != GOOD || rig_embed(&rig) != MOCO_OK || refused(4, "the system starts only ") ||
            rig_embed(&rig) != MOCO_OK || works(2))
            return WRONG("%s", moco_error());
    }
    return here; /* the other thread ends with the process */
}

struct racer {
    pthread_t thread;
    pthread_barrier_t *go;
    struct rig rig;
    moco_status status;
};

static void *race(void *arg)
{
    struct racer *racer = arg;
    pthread_barrier_wait(racer->go);
    racer->status = rig_make(&racer->rig, 2);
    pthread_barrier_wait(racer->go); /* the one that has a thread keeps it until both have asked */
    return NULL;
}

/* Until this process has no more than `most`, or the alarm. */
static void await_threads(int most)
{
    for (int threads = most + 1; threads > most;) {
        DIR *folder = opendir("/proc/self/task");
        for (threads = -2; folder != NULL && readdir(folder) != NULL;) /* . and .. */
            threads++;
        if (folder != NULL)
            closedir(folder);
        sched_yield();
    }
}

/* Two ask for one thread each and there is one. */
static int two_ask_at_once(void)
{
    if (getuid() != 0)
        return NOT_HERE; /* a user with other processes cannot count them */
    for (int round = 0; round < 20; round++) {
        pthread_barrier_t go;
        struct racer racers[2];
        pthread_barrier_init(&go, NULL, 3);
        for (int i = 0; i < 2; i++) {
            racers[i] = (struct racer){.go = &go};
            if (pthread_create(&racers[i].thread, NULL, race, &racers[i]) != 0)
                return WRONG("no thread");
        }
        if (round == 0 && no_more_threads() != GOOD)
            return NOT_HERE;
        if (limit_processes(4) != GOOD)
            return NOT_HERE;
        pthread_barrier_wait(&go);
        pthread_barrier_wait(&go);
        int good = 0;
        for (int i = 0; i < 2; i++) {
            pthread_join(racers[i].thread, NULL);
            good += racers[i].status == MOCO_OK;
            if (racers[i].status != MOCO_OK && racers[i].status != MOCO_ESTATE)
                return WRONG("%s", moco_status_text(racers[i].status));
            rig_free(&racers[i].rig);
        }
        await_threads(1); /* those of the team end after their caller */
        if (good != 1)
            return WRONG("%d of 2 got the one thread there was, in round %d", good, round);
        limit_processes(4096);
    }
    return GOOD;
}

static moco_status a_picture(void *user, int64_t id, const uint8_t **at, int32_t *w, int32_t *h)
{
    static const uint8_t pixels[8][8][3];
    (void)user;
    (void)id;
    *at = pixels[0][0];
    *w = *h = 8;
    return MOCO_OK;
}

/* A loader's own threads. */
static int a_loader_without_threads(void)
{
    moco_context *context;
    moco_dataset *dataset;
    moco_loader *loader = NULL;
    moco_image_source source;
    moco_augment_options recipe;
    moco_loader_options options;
    moco_batch batch;
    moco_image_source_init(&source);
    source.count = 4;
    source.read = a_picture;
    moco_loader_options_init(&options);
    options.batch_size = 4;
    options.recipe[0] = &recipe;
    options.workers = 3;
    moco_batch_init(&batch);
    int here = no_more_threads();
    if (here != GOOD)
        return here;
    if (moco_augment_options_preset(&recipe, "none", 8) != MOCO_OK || moco_context_create(&context, NULL) != MOCO_OK ||
        moco_dataset_from_callback(&dataset, context, &source) != MOCO_OK)
        return WRONG("%s", moco_error());
    moco_status status = moco_loader_create(&loader, dataset, &options);
    if (status == MOCO_OK || loader != NULL || strstr(moco_error(), "cannot be started") == NULL)
        return WRONG("%s: %s", moco_status_text(status), moco_error());
    options.workers = 0;
    if (moco_loader_create(&loader, dataset, &options) != MOCO_OK || moco_loader_start(loader, 0) != MOCO_OK ||
        moco_loader_next(loader, &batch) != MOCO_OK)
        return WRONG("%s", moco_error());
    moco_loader_free(loader);
    moco_dataset_free(dataset);
    moco_context_free(context);
    return GOOD;
}

/* Stacks of 256 MB, and address space for less than one more: this program has been started with such stacks. */
static int under_a_memory_limit(void)
{
    unsigned long pages = 0;
    struct rlimit limit;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%lu", &pages) != 1)
        return NOT_HERE;
    fclose(file);
    limit.rlim_max = RLIM_INFINITY;
    limit.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + ((rlim_t)160 << 20);
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        return NOT_HERE;
    if (refused(2, limited) || works(1))
        return BAD;
    limit.rlim_cur = RLIM_INFINITY;
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        return NOT_HERE;
    return works(2);
}

/* From too little address space up to what is enough: oneDNN's generated code, too, is memory that may not be had. */
#ifndef __SANITIZE_ADDRESS__
static int little_memory(void)
{
    enum { MOST = 128 };
    unsigned long pages = 0;
    struct rlimit limit = {.rlim_max = RLIM_INFINITY};
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%lu", &pages) != 1)
        return NOT_HERE;
    fclose(file);
    for (int extra = 1; extra <= MOST; extra++) {
        limit.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + ((rlim_t)extra << 20);
        if (setrlimit(RLIMIT_AS, &limit) != 0)
            return NOT_HERE;
        moco_status status = compute(1);
        if (status == MOCO_OK)
            return GOOD;
        if (status != MOCO_ENOMEM)
            return WRONG("%d MiB: %s", extra, moco_error());
    }
    return WRONG("%d MiB are not enough", (int)MOST);
}
#endif

/* ---- OpenMP's settings ---- */

static int automatic(int wanted)
{
    struct rig rig;
    moco_device_info info;
    moco_device_info_init(&info);
    if (rig_make(&rig, 0) != MOCO_OK || moco_device_describe(rig.device, &info) != MOCO_OK ||
        rig_embed(&rig) != MOCO_OK)
        return WRONG("automatic: %s", moco_error());
    rig_free(&rig);
    return info.threads == wanted ? GOOD : WRONG("automatic is %d and not %d", info.threads, wanted);
}

static int one_by_limit(void)
{
    return automatic(1) || refused(2, "OMP_THREAD_LIMIT") || works(1);
}

static int one_by_number(void)
{
    return automatic(1) || works(2); /* who says a number gets it */
}

static int one_by_levels(void)
{
    return automatic(1) || refused(2, "OMP_MAX_ACTIVE_LEVELS") || works(1);
}

/* ---- forked children ---- */

static int run(int (*part)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60); /* ends what hangs */
        _exit(part());
    }
    int status = -1;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return BAD;
    return WIFEXITED(status) ? WEXITSTATUS(status) : WRONG("wait status %d", status);
}

static int run_again(const char *what, const char *name, const char *value)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit stack = {(rlim_t)256 << 20, RLIM_INFINITY};
        getrlimit(RLIMIT_STACK, &stack);
        stack.rlim_cur = (rlim_t)256 << 20;
        if (strcmp(what, "memory") == 0 && setrlimit(RLIMIT_STACK, &stack) != 0)
            _exit(NOT_HERE);
        if (name != NULL)
            setenv(name, value, 1);
        execl("/proc/self/exe", "test_threads", what, (char *)NULL);
        _exit(BAD);
    }
    int status = -1;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return BAD;
    return WIFEXITED(status) ? WEXITSTATUS(status) : WRONG("wait status %d", status);
}

static int two_threads(void)
{
    return works(2);
}

static struct rig parents;

static const char left_behind[] = "1 thread, or exec";

static void *two_threads_here(void *arg)
{
    *(int *)arg = works(2);
    return NULL;
}

static int after_openmp(void)
{
    if (rig_embed(&parents) != MOCO_ESTATE || strstr(moco_error(), left_behind) == NULL)
        return WRONG("the parent's model: %s", moco_error());
    if (refused(2, left_behind) || refused(3, left_behind) || works(1) || refused(2, left_behind) || works(1))
        return BAD;
    if (run_again("two", NULL, NULL) != GOOD) /* exec */
        return WRONG("exec");
    pthread_t thread; /* has no pool from anywhere */
    int result = BAD;
    if (pthread_create(&thread, NULL, two_threads_here, &result) != 0)
        return WRONG("no thread");
    pthread_join(thread, NULL);
    return result;
}

static int child_of_a_child(void)
{
    return run(after_openmp);
}

static void *fork_here(void *arg)
{
    *(int *)arg = run(two_threads);
    return NULL;
}

/* The parent has computed, in another thread than the one that forks. */
static int from_another_thread(void)
{
    pthread_t thread;
    int result = BAD;
    if (works(2) || pthread_create(&thread, NULL, fork_here, &result) != 0)
        return BAD;
    pthread_join(thread, NULL);
    return result;
}

static int before_and_after(void)
{
    if (run(two_threads)) /* nothing has been computed yet */
        return WRONG("a child before");
    if (rig_make(&parents, 2) != MOCO_OK || rig_embed(&parents) != MOCO_OK)
        return WRONG("%s", moco_error());
    if (run(after_openmp) || run(child_of_a_child))
        return WRONG("a child after");
    if (rig_embed(&parents) != MOCO_OK || works(3)) /* the parent goes on */
        return WRONG("%s", moco_error());
    rig_free(&parents);
    return GOOD;
}

/* ---- the tests ---- */

static void expect(const char *what, int result)
{
    if (result == NOT_HERE)
        not_tested_here(what);
    else if (result != GOOD)
        fail_msg("%s: %d", what, result);
}

static void limits(void **state)
{
    (void)state;
    expect("a limit on processes", run(under_a_process_limit));
    expect("limits around a team", run(limits_around_a_team));
    expect("a limit on processes that comes later", run(a_limit_that_comes_later));
    expect("two teams under a limit on processes", run(two_ask_at_once));
    expect("a loader under a limit on processes", run(a_loader_without_threads));
#ifdef __SANITIZE_ADDRESS__
    not_tested_here("a limit on address space: AddressSanitizer takes all of it");
#else
    expect("a limit on address space", run_again("memory", NULL, NULL));
    expect("little address space", run(little_memory));
#endif
}

static void openmp_settings(void **state)
{
    (void)state;
    expect("OMP_THREAD_LIMIT", run_again("limit", "OMP_THREAD_LIMIT", "1"));
    expect("OMP_NUM_THREADS", run_again("number", "OMP_NUM_THREADS", "1"));
    expect("OMP_MAX_ACTIVE_LEVELS", run_again("levels", "OMP_MAX_ACTIVE_LEVELS", "0"));
}

static void forked_children(void **state)
{
    (void)state;
    expect("forked children", run(before_and_after));
    expect("a fork beside the thread that computed", run(from_another_thread));
}

static int part(const char *what)
{
    alarm(60);
    if (strcmp(what, "memory") == 0)
        return under_a_memory_limit();
    if (strcmp(what, "limit") == 0)
        return one_by_limit();
    if (strcmp(what, "number") == 0)
        return one_by_number();
    return strcmp(what, "levels") == 0 ? one_by_levels() : works(2);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return part(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits),
        cmocka_unit_test(openmp_settings),
        cmocka_unit_test(forked_children),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else
int main(void)
{
    return 0;
}
#endif
