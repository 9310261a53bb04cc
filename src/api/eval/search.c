/* SPDX-License-Identifier: MIT
 *
 * moco/search.h: banks of vectors. What a reader would get wrong: a bank counts the calls that use it: any number
 * that read it (`inside` above 0), or one that appends to it (-1). */
#include "moco/search.h"

#include <stdatomic.h>
#include <string.h>

#include "api/objects.h"
#include "eval/bank.h"

struct moco_bank {
    struct handle handle;
    moco_device *device; /* a counted reference */
    struct bank *bank;
    atomic_int inside;
    _Atomic int64_t count; /* of the bank, as anybody may ask for while another appends */
};

enum { APPENDING = -1 };

static void bank_destroy(struct handle *handle)
{
    moco_bank *bank = (moco_bank *)handle;
    bank_free(bank->bank);
    if (bank->device != NULL)
        handle_unref(&bank->device->handle);
}

static moco_status new_bank(moco_bank **out, moco_device *device, struct err *err)
{
    TRY(api_not_null(out, "bank", err));
    *out = NULL;
    TRY(handle_check(device, HANDLE_DEVICE, "device", err));
    moco_bank *bank = handle_new(device->handle.ctx, sizeof *bank, HANDLE_BANK, bank_destroy, err);
    if (bank == NULL)
        return MOCO_ENOMEM;
    handle_ref(&device->handle);
    bank->device = device;
    *out = bank;
    return MOCO_OK;
}

/* The half-made bank goes if the other half failed. */
static moco_status whole(moco_bank **out, moco_status status)
{
    if (status != MOCO_OK) {
        handle_free(*out, HANDLE_BANK);
        *out = NULL;
    }
    return status;
}

static moco_status make(moco_bank **out, moco_device *device, int dim, struct err *err)
{
    TRY(new_bank(out, device, err));
    return whole(out, bank_create(&(*out)->bank, device->handle.ctx, device->backend, device->dev, dim, err));
}

moco_status moco_bank_create(moco_bank **bank, moco_device *device, int dim)
{
    struct err err = {0};
    return api_return(make(bank, device, dim, &err), "moco_bank_create", &err);
}

static moco_status open_file(moco_bank **out, moco_device *device, const char *path, int map, struct err *err)
{
    TRY(new_bank(out, device, err));
    moco_status status = api_not_null(path, "path", err);
    if (status == MOCO_OK && map != 0 && map != 1)
        status = err_set(err, MOCO_EINVAL, "map is %d; it must be 0 or 1", map);
    if (status == MOCO_OK)
        status = bank_open(&(*out)->bank, device->handle.ctx, device->backend, device->dev, path, map, err);
    if (status == MOCO_OK)
        atomic_store(&(*out)->count, bank_count((*out)->bank));
    return whole(out, status);
}

moco_status moco_bank_open(moco_bank **bank, moco_device *device, const char *path, int map)
{
    struct err err = {0};
    return api_return(open_file(bank, device, path, map, &err), "moco_bank_open", &err);
}

void moco_bank_free(moco_bank *bank)
{
    handle_free(bank, HANDLE_BANK);
}

/* ---- who is in a bank ---- */

static moco_status enter_to_read(moco_bank *bank, struct err *err)
{
    int inside = atomic_load(&bank->inside);
    do {
        if (inside == APPENDING)
            return err_set(err, MOCO_ESTATE, "another thread appends to this bank");
    } while (!atomic_compare_exchange_weak(&bank->inside, &inside, inside + 1));
    handle_ref(&bank->handle); /* it may be freed meanwhile */
    return MOCO_OK;
}

static void leave(moco_bank *bank)
{
    atomic_fetch_sub(&bank->inside, 1);
    handle_unref(&bank->handle);
}

static moco_status enter_to_append(moco_bank *bank, struct err *err)
{
    int nobody = 0;
    if (!atomic_compare_exchange_strong(&bank->inside, &nobody, APPENDING))
        return err_set(err, MOCO_ESTATE, "another thread is in this bank");
    handle_ref(&bank->handle);
    return MOCO_OK;
}

static void leave_appended(moco_bank *bank)
{
    atomic_store(&bank->count, bank_count(bank->bank));
    atomic_store(&bank->inside, 0);
    handle_unref(&bank->handle);
}

/* ---- calls ---- */

static moco_status check(moco_bank *bank, const moco_tensor *rows, const char *name, struct err *err)
{
    int64_t count;
    TRY(handle_check(bank, HANDLE_BANK, "bank", err));
    TRY(tensor_check(rows, name, 0, &count, err));
    int dim = bank_dim(bank->bank);
    if (rows->dtype != MOCO_F32 || rows->ndim != 2 || rows->shape[1] != dim)
        return err_set(err, MOCO_ESHAPE, "%s must be f32 [n,%d]", name, dim);
    return MOCO_OK;
}

static moco_status append(moco_bank *bank, const moco_tensor *vectors, const int64_t *ids, struct err *err)
{
    TRY(check(bank, vectors, "vectors", err));
    TRY(enter_to_append(bank, err));
    moco_status status = bank_append(bank->bank, vectors->data, ids, vectors->shape[0], err);
    leave_appended(bank);
    return status;
}

moco_status moco_bank_append(moco_bank *bank, const moco_tensor *vectors, const int64_t *ids)
{
    struct err err = {0};
    return api_return(append(bank, vectors, ids, &err), "moco_bank_append", &err);
}

static moco_status append_keys(moco_bank *bank, struct queue *queue, const int64_t *ids, struct err *err)
{
    struct ctx *ctx = bank->handle.ctx;
    float *rows = mem_array(ctx, (size_t)queue->length, (size_t)queue->dim * sizeof *rows, err);
    int64_t *kept = mem_array(ctx, (size_t)queue->length, sizeof *kept, err), n = 0;
    moco_status status = rows == NULL || kept == NULL ? MOCO_ENOMEM : queue_read(queue, rows, err);
    for (int64_t row = 0; row < queue->length && status == MOCO_OK; row++) {
        if (ids[row] < 0)
            continue;
        memmove(rows + n * queue->dim, rows + row * queue->dim, sizeof *rows * (size_t)queue->dim);
        kept[n++] = ids[row];
    }
    if (status == MOCO_OK)
        status = bank_append(bank->bank, rows, kept, n, err);
    mem_free(ctx, rows);
    mem_free(ctx, kept);
    return status;
}

static moco_status append_queue(moco_bank *bank, const moco_queue *queue, const int64_t *ids, struct err *err)
{
    struct turn turn HANDLE_TURN;
    TRY(handle_check(bank, HANDLE_BANK, "bank", err));
    TRY(handle_enter_nested(&turn, queue, HANDLE_QUEUE, "queue", err));
    TRY(api_not_null(ids, "ids", err));
    if (queue->queue->dim != bank_dim(bank->bank))
        return err_set(err, MOCO_ESHAPE, "the queue's keys have %d numbers; the bank's vectors have %d",
                       queue->queue->dim, bank_dim(bank->bank));
    queue_land(queue->queue);
    TRY(enter_to_append(bank, err));
    moco_status status = append_keys(bank, queue->queue, ids, err);
    leave_appended(bank);
    return status;
}

moco_status moco_bank_append_queue(moco_bank *bank, const moco_queue *queue, const int64_t *ids)
{
    struct err err = {0};
    return api_return(append_queue(bank, queue, ids, &err), "moco_bank_append_queue", &err);
}

static moco_status describe(const moco_bank *bank, int64_t *count, int *dim, struct err *err)
{
    TRY(handle_check(bank, HANDLE_BANK, "bank", err));
    if (count != NULL)
        *count = atomic_load(&bank->count);
    if (dim != NULL)
        *dim = bank_dim(bank->bank);
    return MOCO_OK;
}

moco_status moco_bank_describe(const moco_bank *bank, int64_t *count, int *dim)
{
    struct err err = {0};
    return api_return(describe(bank, count, dim, &err), "moco_bank_describe", &err);
}

static moco_status save(moco_bank *bank, const char *path, struct err *err)
{
    TRY(handle_check(bank, HANDLE_BANK, "bank", err));
    TRY(api_not_null(path, "path", err));
    TRY(enter_to_read(bank, err));
    moco_status status = bank_save(bank->bank, path, err);
    leave(bank);
    return status;
}

moco_status moco_bank_save(moco_bank *bank, const char *path)
{
    struct err err = {0};
    return api_return(save(bank, path, &err), "moco_bank_save", &err);
}

static moco_status search(moco_bank *bank, const moco_tensor *queries, int k, int64_t *ids, float *cosines,
                          struct err *err)
{
    TRY(check(bank, queries, "queries", err));
    TRY(api_not_null(ids, "ids", err));
    TRY(enter_to_read(bank, err));
    moco_status status = bank_search(bank->bank, queries->data, queries->shape[0], k, ids, cosines, err);
    leave(bank);
    return status;
}

moco_status moco_knn_search(moco_bank *bank, const moco_tensor *queries, int k, int64_t *ids, float *cosines)
{
    struct err err = {0};
    return api_return(search(bank, queries, k, ids, cosines, &err), "moco_knn_search", &err);
}
