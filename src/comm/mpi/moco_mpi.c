/* SPDX-License-Identifier: MIT
 *
 * moco_mpi: libmoco_mpi.so, the engine of ranks that MPI carries. One file over public headers, so that it can be
 * compiled with the mpicc of any site:
 *     mpicc -shared -fPIC -O2 -o libmoco_mpi.so moco_mpi.c -lmoco
 * What a reader would get wrong: MPI moves nothing by itself. Exchanges move while MPI_Test is called, which the thread
 * of the comm does. And MPI has no answer to a rank that is gone but to wait: nothing here blocks once the engine is
 * open, a rank that is silent is found by libmoco's roll call, and what is under way then is left as it is. */
#include "moco/mpi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define UNDER_WAY 128    /* exchanges at most, more than libmoco begins at once */
#define CALLS 64         /* bytes of the roll call that have not left yet */
#define LEAVE_SECONDS 60 /* how long MPI_Finalize is put off for ranks that have not come to it */
#define PAUSE_NANOSECONDS 1000000

/* `exchanges` and `calls` are communicators of our own: nothing of the program's can be mistaken for ours. */
struct engine {
    MPI_Comm exchanges, calls;
    int ours; /* MPI was initialised here */
    MPI_Request request[UNDER_WAY];
    MPI_Request sent[CALLS];
    unsigned char byte[CALLS];
};

static int engines; /* open, of those with `ours` */
static int initialised_here;

/* 1, with MPI's sentence behind `what`. */
static int failed(int error, const char *what, char *why, size_t size)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    if (MPI_Error_string(error, text, &length) != MPI_SUCCESS)
        snprintf(text, sizeof text, "error %d", error);
    snprintf(why, size, "%s: %.180s", what, text);
    return 1;
}

/* ---- exchanges ---- */

static MPI_Request *free_request(MPI_Request *list, int count)
{
    for (int i = 0; i < count; i++)
        if (list[i] == MPI_REQUEST_NULL)
            return &list[i];
    return NULL;
}

static int too_much(char *why, size_t size, const char *what)
{
    snprintf(why, size, "%s", what);
    return 1;
}

static int mpi_sum(void *user, void *data, int64_t count, int32_t dtype, void **request, char *why, size_t size)
{
    struct engine *e = user;
    MPI_Request *at = free_request(e->request, UNDER_WAY);
    if (at == NULL || count > INT32_MAX)
        return too_much(why, size, at == NULL ? "too many exchanges at once" : "MPI sums 2147483647 numbers at most");
    MPI_Datatype type = dtype == MOCO_F64 ? MPI_DOUBLE : MPI_FLOAT;
    int error = MPI_Iallreduce(MPI_IN_PLACE, data, (int)count, type, MPI_SUM, e->exchanges, at);
    *request = at;
    return error != MPI_SUCCESS && failed(error, "MPI_Iallreduce", why, size);
}

static int mpi_gather(void *user, void *blocks, int64_t bytes_each, void **request, char *why, size_t size)
{
    struct engine *e = user;
    MPI_Request *at = free_request(e->request, UNDER_WAY);
    if (at == NULL || bytes_each > INT32_MAX)
        return too_much(why, size, at == NULL ? "too many exchanges at once" : "MPI gathers 2147483647 bytes at most");
    int error = MPI_Iallgather(MPI_IN_PLACE, 0, MPI_BYTE, blocks, (int)bytes_each, MPI_BYTE, e->exchanges, at);
    *request = at;
    return error != MPI_SUCCESS && failed(error, "MPI_Iallgather", why, size);
}

static int mpi_test(void *user, void *request, int32_t *done, char *why, size_t size)
{
    int flag = 0, error = MPI_Test(request, &flag, MPI_STATUS_IGNORE);
    (void)user;
    *done = flag;
    return error != MPI_SUCCESS && failed(error, "MPI_Test", why, size);
}

/* ---- the roll call ---- */

/* A byte that finds no place is not sent: so many others have not left that nobody takes them. */
static int mpi_send(void *user, int32_t to, uint8_t byte)
{
    struct engine *e = user;
    for (int i = 0, flag; i < CALLS; i++)
        if (e->sent[i] != MPI_REQUEST_NULL)
            MPI_Test(&e->sent[i], &flag, MPI_STATUS_IGNORE);
    MPI_Request *at = free_request(e->sent, CALLS);
    if (at == NULL)
        return 0;
    e->byte[at - e->sent] = byte;
    return MPI_Isend(&e->byte[at - e->sent], 1, MPI_BYTE, to, 0, e->calls, at) != MPI_SUCCESS;
}

static int mpi_receive(void *user, int32_t *from, uint8_t *byte, int32_t *came)
{
    struct engine *e = user;
    MPI_Status status;
    int flag = 0;
    *came = 0;
    if (MPI_Iprobe(MPI_ANY_SOURCE, 0, e->calls, &flag, &status) != MPI_SUCCESS)
        return 1;
    if (!flag)
        return 0;
    *from = status.MPI_SOURCE;
    *came = 1;
    return MPI_Recv(byte, 1, MPI_BYTE, *from, 0, e->calls, MPI_STATUS_IGNORE) != MPI_SUCCESS;
}

/* ---- closing ---- */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* 1, once all ranks have come here; 0 if some have not, for so long that they may be gone. */
static int all_leave(struct engine *e)
{
    const struct timespec pause = {0, PAUSE_NANOSECONDS};
    MPI_Request barrier;
    double begun = seconds();
    int done = 0;
    if (MPI_Ibarrier(e->exchanges, &barrier) != MPI_SUCCESS)
        return 0;
    while (MPI_Test(&barrier, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && !done && seconds() - begun < LEAVE_SECONDS)
        nanosleep(&pause, NULL);
    return done;
}

static int busy(const MPI_Request *list, int count)
{
    for (int i = 0; i < count; i++)
        if (list[i] != MPI_REQUEST_NULL)
            return 1;
    return 0;
}

/* A broken engine is left as it is, with its communicators: MPI would wait for the others, and may still write. */
static int mpi_close(void *user, int32_t broken)
{
    struct engine *e = user;
    int last = e->ours && --engines == 0;
    if (broken)
        return busy(e->request, UNDER_WAY);
    if (last && !all_leave(e))
        return 0;
    for (int i = 0; i < CALLS; i++)
        if (e->sent[i] != MPI_REQUEST_NULL)
            MPI_Request_free(&e->sent[i]);
    MPI_Comm_free(&e->exchanges);
    MPI_Comm_free(&e->calls);
    if (last)
        MPI_Finalize();
    free(e);
    return 0;
}

/* MPI_COMM_WORLD: a launcher ends the whole job, or nothing that it would answer for. */
static void mpi_abort(void *user, int32_t code)
{
    (void)user;
    MPI_Abort(MPI_COMM_WORLD, code);
}

/* ---- opening ---- */

/* "Open MPI v4.1.4, package: ..." and "MPICH Version:\t4.0.2\nMPICH Release date..." become a name and a number. */
static void put_name(char *name, size_t size)
{
    char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    size_t at = 0;
    MPI_Get_library_version(text, &length);
    text[strcspn(text, ",\n")] = 0;
    for (char *word = strtok(text, " \t:"); word != NULL && at + 1 < size; word = strtok(NULL, " \t:"))
        if (strcmp(word, "Version") != 0)
            at += (size_t)snprintf(name + at, size - at, "%s%s", at > 0 ? " " : "", word);
    name[size - 1] = 0;
}

/* Open MPI sums along a tree unless it is told otherwise, which takes 1.9 times (2 ranks) and 2.6 times (4) what the wire
 * needs; along a ring it takes 1.0 times (docs/scaling.md). Who has chosen an algorithm keeps it. */
static void choose_ring(void)
{
    static const char name[] = "coll_libnbc_iallreduce_algorithm";
    const int ring = 1;
    int level, index, count, chosen = -1;
    MPI_T_cvar_handle handle;
    if (MPI_T_init_thread(MPI_THREAD_SINGLE, &level) != MPI_SUCCESS)
        return;
    if (MPI_T_cvar_get_index(name, &index) == MPI_SUCCESS &&
        MPI_T_cvar_handle_alloc(index, NULL, &handle, &count) == MPI_SUCCESS) {
        if (count == 1 && MPI_T_cvar_read(handle, &chosen) == MPI_SUCCESS && chosen == 0)
            MPI_T_cvar_write(handle, &ring);
        MPI_T_cvar_handle_free(&handle);
    }
    MPI_T_finalize();
}

static int initialise(int *level, char *why, size_t size)
{
    int running = 0, over = 0, error;
    MPI_Finalized(&over);
    if (over)
        return too_much(why, size, "MPI has been finalised in this process, and cannot be started again");
    MPI_Initialized(&running);
    if (running) {
        error = MPI_Query_thread(level);
        return error != MPI_SUCCESS && failed(error, "MPI_Query_thread", why, size);
    }
    error = MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, level);
    if (error != MPI_SUCCESS)
        return failed(error, "MPI_Init_thread", why, size);
    initialised_here = 1;
    choose_ring();
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    return 0;
}

static int join(struct engine *e, MPI_Comm mpi, char *why, size_t size)
{
    int error = MPI_Comm_dup(mpi, &e->exchanges);
    if (error != MPI_SUCCESS)
        return failed(error, "MPI_Comm_dup", why, size);
    MPI_Comm_set_errhandler(e->exchanges, MPI_ERRORS_RETURN);
    error = MPI_Comm_dup(e->exchanges, &e->calls);
    if (error != MPI_SUCCESS)
        return failed(error, "MPI_Comm_dup", why, size);
    MPI_Comm_set_errhandler(e->calls, MPI_ERRORS_RETURN);
    return 0;
}

static int mpi_open(const void *argument, moco_comm_engine *engine, char *why, size_t size)
{
    int level = MPI_THREAD_SINGLE, rank = 0, ranks = 1, length = 0;
    char host[MPI_MAX_PROCESSOR_NAME] = "";
    MPI_Comm given = argument != NULL ? *(const MPI_Comm *)argument : MPI_COMM_NULL;
    if (argument != NULL && given == MPI_COMM_NULL)
        return too_much(why, size, "the communicator is MPI_COMM_NULL");
    struct engine *e = calloc(1, sizeof *e);
    if (e == NULL)
        return too_much(why, size, "out of memory");
    if (initialise(&level, why, size) || join(e, argument != NULL ? given : MPI_COMM_WORLD, why, size)) {
        free(e);
        return 1;
    }
    for (int i = 0; i < UNDER_WAY; i++)
        e->request[i] = MPI_REQUEST_NULL;
    for (int i = 0; i < CALLS; i++)
        e->sent[i] = MPI_REQUEST_NULL;
    e->ours = initialised_here;
    engines += e->ours;
    MPI_Comm_rank(e->exchanges, &rank);
    MPI_Comm_size(e->exchanges, &ranks);
    MPI_Get_processor_name(host, &length);
    engine->rank = rank;
    engine->ranks = ranks;
    engine->any_thread = level == MPI_THREAD_MULTIPLE || (e->ours && level == MPI_THREAD_SERIALIZED);
    engine->user = e;
    put_name(engine->name, sizeof engine->name);
    snprintf(engine->host, sizeof engine->host, "%.63s", host);
    engine->sum = mpi_sum;
    engine->gather = mpi_gather;
    engine->test = mpi_test;
    engine->send = engine->any_thread ? mpi_send : NULL;
    engine->receive = engine->any_thread ? mpi_receive : NULL;
    engine->close = mpi_close;
    engine->abort = mpi_abort;
    return 0;
}

MOCO_API extern const moco_comm_module moco_comm_module_entry;
const moco_comm_module moco_comm_module_entry = {.abi = MOCO_COMM_MODULE_ABI, .open = mpi_open};

moco_status moco_comm_from_mpi(moco_comm **comm, moco_context *context, MPI_Comm mpi, const moco_comm_options *options)
{
    return moco_comm_from_module(comm, context, &moco_comm_module_entry, &mpi, options);
}
