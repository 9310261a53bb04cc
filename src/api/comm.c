/* SPDX-License-Identifier: MIT
 *
 * moco/comm.h: the ranks' communication behind a handle. */
#include "moco/comm.h"

#include <string.h>

#include "api/objects.h"
#include "backend/fallback.h"

_Static_assert(sizeof(moco_comm_engine) % 8 == 0 && sizeof(moco_comm_options) % 8 == 0 &&
                   sizeof(moco_comm_info) % 8 == 0,
               "struct sizes are multiples of 8");

void moco_comm_engine_init_sized(moco_comm_engine *engine, size_t size)
{
    moco_comm_engine defaults = {.ranks = 1};
    struct_init(engine, size, &defaults, sizeof defaults);
}

void moco_comm_options_init_sized(moco_comm_options *options, size_t size)
{
    moco_comm_options defaults = {.silence_seconds = 30, .bucket_bytes = 25e6};
    struct_init(options, size, &defaults, sizeof defaults);
}

void moco_comm_info_init_sized(moco_comm_info *info, size_t size)
{
    moco_comm_info defaults = {0};
    struct_init(info, size, &defaults, sizeof defaults);
}

static void comm_destroy(struct handle *handle)
{
    moco_comm *comm = (moco_comm *)handle;
    comm_free(comm->comm);
    if (comm->device != NULL)
        handle_unref(&comm->device->handle);
}

static moco_status read_options(moco_comm_options *o, const moco_comm_options *given, struct err *err)
{
    moco_comm_options_init(o);
    if (given == NULL)
        return MOCO_OK;
    TRY(struct_read(o, sizeof *o, given, "options", err));
    return struct_reserved(o->reserved0, "moco_comm_options.reserved0", err);
}

static moco_comm *new_handle(moco_context *context, struct err *err)
{
    return handle_new(context->handle.ctx, sizeof(moco_comm), HANDLE_COMM, comm_destroy, err);
}

/* ---- of an engine ---- */

/* Of a readable engine: closes it on failure. */
static moco_status wrap(moco_comm **out, moco_context *context, const moco_comm_engine *engine,
                        const moco_comm_options *options, struct err *err)
{
    moco_comm_options o;
    moco_comm *comm = NULL;
    moco_status status = handle_check(context, HANDLE_CONTEXT, "context", err);
    if (status == MOCO_OK)
        status = read_options(&o, options, err);
    if (status == MOCO_OK && (comm = new_handle(context, err)) == NULL)
        status = MOCO_ENOMEM;
    if (status != MOCO_OK) {
        engine->close(engine->user, 0);
        return status;
    }
    status = comm_create(&comm->comm, comm->handle.ctx, engine, &o, err);
    if (status != MOCO_OK) {
        handle_free(comm, HANDLE_COMM);
        return status;
    }
    *out = comm;
    return MOCO_OK;
}

static moco_status from_engine(moco_comm **out, moco_context *context, const moco_comm_engine *given,
                               const moco_comm_options *options, struct err *err)
{
    moco_comm_engine engine;
    TRY(api_not_null(out, "comm", err));
    *out = NULL;
    moco_comm_engine_init(&engine);
    TRY(struct_read(&engine, sizeof engine, given, "engine", err));
    if (engine.close == NULL)
        return err_set(err, MOCO_EINVAL, "the engine has no function close");
    return wrap(out, context, &engine, options, err);
}

moco_status moco_comm_from_engine(moco_comm **comm, moco_context *context, const moco_comm_engine *engine,
                                  const moco_comm_options *options)
{
    struct err err = {0};
    return api_return(from_engine(comm, context, engine, options, &err), "moco_comm_from_engine", &err);
}

/* ---- of a module ---- */

/* Every rank comes here when it has its comm: one that does not is found now. */
static moco_status meet(moco_comm **out, struct err *err)
{
    moco_status status = comm_vote((*out)->comm, MOCO_OK, err);
    if (status != MOCO_OK) {
        handle_free(*out, HANDLE_COMM);
        *out = NULL;
    }
    return status;
}

/* The options are looked at before the module is: it may wait for other ranks. */
static moco_status from_module(moco_comm **out, moco_context *context, const char *name, const moco_comm_module *module,
                               const void *argument, const moco_comm_options *options, struct err *err)
{
    moco_comm_engine engine;
    moco_comm_options o;
    TRY(api_not_null(out, "comm", err));
    *out = NULL;
    TRY(handle_check(context, HANDLE_CONTEXT, "context", err));
    TRY(read_options(&o, options, err));
    if (name != NULL)
        TRY(comm_module_find(&module, name, err));
    moco_comm_engine_init(&engine);
    TRY(comm_module_engine(&engine, module, argument, err));
    TRY(from_engine(out, context, &engine, options, err));
    return meet(out, err);
}

static moco_status open_by_name(moco_comm **out, moco_context *context, const char *name,
                                const moco_comm_options *options, struct err *err)
{
    TRY(api_not_null(name, "module", err));
    return from_module(out, context, name, NULL, NULL, options, err);
}

moco_status moco_comm_open(moco_comm **comm, moco_context *context, const char *module,
                           const moco_comm_options *options)
{
    struct err err = {0};
    return api_return(open_by_name(comm, context, module, options, &err), "moco_comm_open", &err);
}

static moco_status of_given_module(moco_comm **out, moco_context *context, const moco_comm_module *module,
                                   const void *argument, const moco_comm_options *options, struct err *err)
{
    TRY(api_not_null(module, "module", err));
    return from_module(out, context, NULL, module, argument, options, err);
}

moco_status moco_comm_from_module(moco_comm **comm, moco_context *context, const moco_comm_module *module,
                                  const void *argument, const moco_comm_options *options)
{
    struct err err = {0};
    return api_return(of_given_module(comm, context, module, argument, options, &err), "moco_comm_from_module", &err);
}

/* ---- of devices ---- */

static moco_status check_id(const void *id, size_t size, struct err *err)
{
    TRY(api_not_null(id, "id", err));
    if (size != MOCO_COMM_ID_BYTES)
        return err_set(err, MOCO_EINVAL, "size is %zu; an id has %d bytes", size, MOCO_COMM_ID_BYTES);
    return MOCO_OK;
}

static moco_status make_id(moco_device *device, void *id, size_t size, struct err *err)
{
    char library[BE_LIBRARY];
    TRY(handle_check(device, HANDLE_DEVICE, "device", err));
    TRY(check_id(id, size, err));
    memset(id, 0, size);
    return backend_ranks_id(device->backend, device->dev, id, library, err);
}

moco_status moco_comm_make_id(moco_device *device, void *id, size_t size)
{
    struct err err = {0};
    return api_return(make_id(device, id, size, &err), "moco_comm_make_id", &err);
}

static moco_status check_ranks(int rank, int ranks, const void *id, size_t size, struct err *err)
{
    static const char nothing[MOCO_COMM_ID_BYTES];
    TRY(check_id(id, size, err));
    if (memcmp(id, nothing, size) == 0)
        return err_set(err, MOCO_EINVAL, "the id is all zeros: it is not one that moco_comm_make_id made");
    if (ranks < 1 || ranks > COMM_RANKS_MAX || rank < 0 || rank >= ranks)
        return err_set(err, MOCO_EINVAL, "rank %d of %d ranks; they count from 0, and are %d at most", rank, ranks,
                       COMM_RANKS_MAX);
    return MOCO_OK;
}

static moco_status from_id(moco_comm **out, moco_device *device, int rank, int ranks, const void *id, size_t size,
                           const moco_comm_options *options, struct err *err)
{
    moco_comm_engine engine;
    moco_comm_options o;
    TRY(api_not_null(out, "comm", err));
    *out = NULL;
    TRY(handle_check(device, HANDLE_DEVICE, "device", err));
    TRY(read_options(&o, options, err));
    TRY(check_ranks(rank, ranks, id, size, err));
    moco_comm *comm = handle_new(device->handle.ctx, sizeof *comm, HANDLE_COMM, comm_destroy, err);
    if (comm == NULL)
        return MOCO_ENOMEM;
    handle_ref(&device->handle);
    comm->device = device;
    moco_status status = backend_ranks_open(device->backend, device->dev, id, rank, ranks, &engine, err);
    if (status == MOCO_OK)
        status = comm_create(&comm->comm, comm->handle.ctx, &engine, &o, err);
    if (status != MOCO_OK) {
        handle_free(comm, HANDLE_COMM);
        return status;
    }
    comm_set_device(comm->comm, device->dev);
    *out = comm;
    return meet(out, err);
}

moco_status moco_comm_from_id(moco_comm **comm, moco_device *device, int32_t rank, int32_t ranks, const void *id,
                              size_t size, const moco_comm_options *options)
{
    struct err err = {0};
    return api_return(from_id(comm, device, rank, ranks, id, size, options, &err), "moco_comm_from_id", &err);
}

/* ---- of threads ---- */

static moco_status fill_local(moco_comm **out, int ranks, moco_context *context, const moco_comm_options *o,
                              struct err *err)
{
    struct ctx *ctx = context->handle.ctx;
    struct comm **made = mem_array(ctx, (size_t)ranks, sizeof *made, err);
    if (made == NULL)
        return MOCO_ENOMEM;
    moco_status status = comm_local(made, ranks, ctx, o, err);
    for (int r = 0; status == MOCO_OK && r < ranks; r++)
        out[r]->comm = made[r];
    mem_free(ctx, made);
    return status;
}

static moco_status local(moco_comm **out, int ranks, moco_context *context, const moco_comm_options *options,
                         struct err *err)
{
    moco_comm_options o;
    moco_status status = MOCO_OK;
    TRY(api_not_null(out, "comms", err));
    if (ranks < 1 || ranks > COMM_LOCAL_MAX)
        return err_set(err, MOCO_EINVAL, "ranks is %d; it must be 1 to %d", ranks, COMM_LOCAL_MAX);
    memset(out, 0, (size_t)ranks * sizeof(*out));
    TRY(handle_check(context, HANDLE_CONTEXT, "context", err));
    TRY(read_options(&o, options, err));
    for (int r = 0; r < ranks && status == MOCO_OK; r++)
        if ((out[r] = new_handle(context, err)) == NULL)
            status = MOCO_ENOMEM;
    if (status == MOCO_OK)
        status = fill_local(out, ranks, context, &o, err);
    for (int r = 0; status != MOCO_OK && r < ranks; r++) {
        handle_free(out[r], HANDLE_COMM);
        out[r] = NULL;
    }
    return status;
}

moco_status moco_comm_local(moco_comm **comms, int32_t ranks, moco_context *context, const moco_comm_options *options)
{
    struct err err = {0};
    return api_return(local(comms, ranks, context, options, &err), "moco_comm_local", &err);
}

/* ---- using one ---- */

static moco_status describe(const moco_comm *comm, moco_comm_info *info, struct err *err)
{
    moco_comm_info filled;
    TRY(handle_check(comm, HANDLE_COMM, "comm", err));
    TRY(struct_check(info, "info", err));
    comm_describe(comm->comm, &filled);
    struct_write(info, &filled, sizeof filled);
    return MOCO_OK;
}

moco_status moco_comm_describe(const moco_comm *comm, moco_comm_info *info)
{
    struct err err = {0};
    return api_return(describe(comm, info, &err), "moco_comm_describe", &err);
}

static moco_status gather(moco_comm *comm, void *blocks, size_t each, struct err *err)
{
    int64_t ticket;
    struct turn turn HANDLE_TURN;
    TRY(handle_enter(&turn, comm, HANDLE_COMM, "comm", err));
    if (each == 0 || each > INT32_MAX)
        return err_set(err, MOCO_EINVAL, "bytes_each is %zu; it must be 1 to %d", each, INT32_MAX);
    TRY(api_not_null(blocks, "blocks", err));
    TRY(comm_gather(comm->comm, blocks, each, &ticket, err));
    return comm_wait(comm->comm, ticket, err);
}

moco_status moco_comm_gather(moco_comm *comm, void *blocks, size_t bytes_each)
{
    struct err err = {0};
    return api_return(gather(comm, blocks, bytes_each, &err), "moco_comm_gather", &err);
}

static moco_status end_all(const moco_comm *comm, int32_t code, double seconds, struct err *err)
{
    TRY(handle_check(comm, HANDLE_COMM, "comm", err));
    if (code < 1 || code > 255)
        return err_set(err, MOCO_EINVAL, "code is %d; an exit status other than 0 is 1 to 255", code);
    if (!(seconds > 0 && seconds <= 1e6))
        return err_set(err, MOCO_EINVAL, "seconds is %g; it must be greater than 0, and 1e6 at most", seconds);
    return comm_abort(comm->comm, code, seconds, err);
}

moco_status moco_comm_abort(moco_comm *comm, int32_t code, double seconds)
{
    struct err err = {0};
    return api_return(end_all(comm, code, seconds, &err), "moco_comm_abort", &err);
}

/* Two atomic accesses: fit for a signal handler. */
void moco_comm_cancel(moco_comm *comm)
{
    if (handle_valid(comm, HANDLE_COMM))
        comm_cancel(comm->comm);
}

void moco_comm_free(moco_comm *comm)
{
    handle_free(comm, HANDLE_COMM);
}
