/* SPDX-License-Identifier: MIT
 *
 * cuda: what the files of the CUDA backend share: device, layout, program, and how work is queued. All that computes is in
 * one stream, so that it is done in the order in which it was given; the input of a step comes in another, beside the step
 * before it. What a reader would get wrong: nothing here calls a library but through the tables of functions that the
 * device was opened with, and what computes is queued through cuda_launch, cuda_fill, cuda_move and cuda_dnn_run alone,
 * or a step that is recorded would be without it; what makes its input is not recorded, as little as what copies it. */
#ifndef MOCO_BACKEND_CUDA_H
#define MOCO_BACKEND_CUDA_H

#include <pthread.h>

#include "backend/backend.h"
#include "backend/cuda/cuda_driver.h"
#include "backend/cuda/dnn/dnn_graph.h"
#include "backend/cuda/dnn/dnn_tuning.h"
#include "backend/cuda/kernels/args.h"

/* What lies behind each other in one block begins where the driver would begin a block. */
static inline size_t cuda_up(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

enum { CUDA_EVENTS = 64, CUDA_BEHIND = 2, CUDA_TURNS = CUDA_BEHIND };

/* Page-locked memory that host arrays are copied through, in two halves: one is filled while the GPU reads the other. */
struct cuda_staging {
    char *memory; /* two halves, and behind them one for reading back */
    cu_event event[2];
    int half, busy[2]; /* busy: an event was recorded that has to be reached before the half is filled again */
    size_t used;       /* of the half */
};

/* The driver aligns a block to 256 bytes and the contract to 4096: `base` is what the driver knows it by. */
struct cuda_block {
    struct cuda_block *next;
    cu_address base;
    void *at;
};

/* Page-locked memory of host_alloc, in which a loader makes views: a step loads them from there. */
struct cuda_lent {
    struct cuda_lent *next;
    void *at;
    size_t bytes;
};

struct nccl_library; /* nccl/nccl_library.h */

/* What a device is opened with. */
struct cuda_tables {
    const struct cuda_driver *cu;
    const void *image;             /* the kernels, as the driver loads them; NULL: none, memory and cuDNN only */
    const struct dnn_library *dnn; /* NULL: there is no cuDNN, and `without` says why */
    const char *without;
    moco_status (*nccl)(const struct nccl_library **out,
                        struct err *err); /* loads it when ranks ask for it; NULL: never */
};

struct be_device {
    struct ctx *ctx;
    const struct cuda_driver *cu;
    char name[24], gpu[64];    /* "cuda:0"; what the driver calls it */
    struct dnn dnn;            /* its `lib` NULL: convolutions are kernels of our own */
    struct dnn_tuning *tuning; /* NULL: engines are not timed */
    moco_status (*nccl)(const struct nccl_library **out, struct err *err);
    cu_device id;
    cu_context context;
    cu_stream stream, loads; /* what computes; the input of steps */
    cu_module module;
    cu_function kernels[CUDA_KERNEL_COUNT];
    int retained, multiprocessors, major, minor;
    pthread_mutex_t lock; /* of everything below, and of the order in which work is queued */
    int has_lock;
    struct cuda_staging staging;
    struct cuda_block *blocks;
    struct cuda_lent *lent;
    int64_t live;
    struct err lost; /* status MOCO_OK: it is not */
    cu_event events[CUDA_EVENTS];
    int64_t marked;
    struct be_program *recording; /* those that record a step now; each its own thread's calls */
};

/* A slab is the parameters in order, each starting on a multiple of 64 bytes: convolutions' weights as [co][kh][kw][ci],
 * everything else as the reference has it. What plans of 16-bit numbers read is a copy of each convolution's weight in such
 * numbers, where a picture's channels are padded (dnn_channels); a key encoder's block has behind all copies the
 * parameters that are not copied. */
struct cuda_place {
    enum param_kind kind;
    int64_t first, count; /* numbers */
    int out, in, area;    /* of a convolution: co, ci, kh * kw */
    int64_t copy, rest;   /* first numbers: of the copy among the copies, or among what is not copied; -1: neither */
    int padded;           /* of a copy: input channels */
};

struct be_layout {
    struct be_device *dev;
    enum be_precision precision;
    int count;
    int64_t total;        /* numbers in a slab, padding included */
    int64_t copies, rest; /* numbers in all copies, and in what is not copied */
    struct cuda_place *place;
    int slice_count;
    struct be_memory memory; /* the tables below, in device memory */
    struct cuda_slice *slices;
    struct cuda_param *params;
    struct cuda_sums *sums;
    struct cuda_rule *rules;
    struct cuda_measure *measure;
};

enum cuda_phase { CUDA_IDLE, CUDA_WORK, CUDA_COMMIT };
enum cuda_mode { CUDA_EAGER, CUDA_RECORD, CUDA_REPEAT }; /* of the open step */

/* Pictures that views are made of. */
struct be_pictures {
    struct be_device *dev;
    int64_t count;
    struct cuda_picture *host; /* [count] the table, as the device has it */
    struct be_memory memory;   /* the table, and all pixels */
    const struct cuda_picture *table;
    uint8_t *pixels;
    cu_event put; /* behind the last picture */
};

/* What steps have of their own, in turn: while one runs, the host fills and copies what belongs to the other. */
struct cuda_turn {
    char *given, *input;     /* page-locked, and in device memory: the step's block with its ranges, views, indices */
    struct cuda_step *ended; /* page-locked: what the step has found */
    cu_event loaded, done;   /* `given` and borrowed views have been read; the step has ended, or was dropped */
    cu_graph_exec *work;     /* [parts] the calls before decide, with addresses in `input`; NULL: of an empty part */
    int recorded;            /* of these */
};

struct be_program {
    struct be_device *dev;
    struct be_program_spec spec;
    enum cuda_phase phase;
    enum cuda_mode mode;
    struct be_memory memory; /* chain, step with its ranges, input of the turns */
    struct cuda_chain *chain;
    struct cuda_step *step; /* device memory */
    void *pinned;           /* `given` and `ended` of the turns */
    struct cuda_turn turn[CUDA_TURNS];
    const struct cuda_step *given; /* of the open step */
    int parts, part;               /* of every step; which of them, from 0, the open one is in */
    int borrows;                   /* the open step loads views from where the caller has them */
    size_t step_bytes, view_bytes, input_bytes;
    int made_count;           /* views of one kind that a step may have made; 0: none */
    size_t made_at, views_at; /* where in the input what is made of pictures is described, and the views begin */
    int64_t over, told;       /* steps that ended, and whose outcome was fetched */
    int64_t failed_told;      /* of those that were told, how many did not commit */
    /* Recording (cuda_record.c). */
    cu_stream tape;          /* NULL: this program never records */
    cu_graph_exec commit;    /* recorded: the calls behind decide */
    struct be_program *next; /* of the device's list */
    pthread_t owner;         /* whose calls are recorded */
    int warm, recording;     /* a step has ended; between begin and end of a recording */
    int taping;              /* the tape records: since the first call of the recording */
    struct err refused;      /* why the recording was not taken; status MOCO_OK: it was */
};

/* ---- cuda_device.c ---- */

/* Opens GPU `number` of a driver that was started. */
moco_status cuda_open(struct be_device **out, struct ctx *ctx, const struct cuda_tables *tables, const char *name,
                      int number, struct err *err);
/* 0..9999 of "NAME:NUMBER", 0 of "NAME". */
int cuda_number(const char *name);

void cuda_close(struct be_device *dev);
int cuda_precisions(const struct be_device *dev); /* bits: without cuDNN only f32 */
void cuda_info(const struct be_device *dev, struct be_info *info);
moco_status cuda_precision(const struct be_device *dev, int wanted, enum be_precision *out, struct err *err);
moco_status cuda_ready(struct be_device *dev, struct err *err);

/* How maps are stored in a precision: 0: as f32; else the kernel of bf16 or fp16 is so many behind f32's (CUDA_STORED). */
int cuda_storage(enum be_precision precision);

/* cuda_table.c: all slots, but for `abi`, `name` and `open`. */
extern const struct backend cuda_slots;

/* ---- cuda_queue.c ---- */

extern const char *const cuda_kernel_names[CUDA_KERNEL_COUNT]; /* as the image has them */

/* Every slot that reaches the driver lies between these two: the lock is held and the context is current. MOCO_EDEVICE:
 * the device is lost (then nothing is held). */
moco_status cuda_enter(struct be_device *dev, struct err *err);
void cuda_leave(struct be_device *dev);
/* The same for what gives something back, which a device that is lost does, too. */
void cuda_enter_lost(struct be_device *dev);

/* Within: MOCO_OK, or the device is lost from now on. `what`: the call. */
moco_status cuda_said(struct be_device *dev, cu_result result, const char *what, struct err *err);
/* Within: queues a convolution by cuDNN (dnn_run), with the same consequences. */
moco_status cuda_dnn_run(struct be_device *dev, struct dnn_plan *plan, const void *x, const void *w, const void *y,
                         const void *workspace, struct err *err);

/* Not within: waits for an event, and does not hold the lock meanwhile, so that other threads queue. */
moco_status cuda_wait(struct be_device *dev, cu_event event, struct err *err);

/* Within: zeros; and a copy within the device. */
moco_status cuda_fill(struct be_device *dev, void *at, size_t bytes, struct err *err);
moco_status cuda_move(struct be_device *dev, void *to, const void *from, size_t bytes, struct err *err);
/* Within: queues a kernel over `blocks` x `rows` x `layers` blocks; and over as many as `items` threads fill, or 65536.
 * cuda_launch_load: in the stream of inputs, which is never recorded. */
moco_status cuda_launch(struct be_device *dev, enum cuda_kernel kernel, int64_t blocks, int rows, int layers,
                        const void *args, struct err *err);
moco_status cuda_launch_load(struct be_device *dev, enum cuda_kernel kernel, int64_t blocks, int rows, const void *args,
                             struct err *err);
moco_status cuda_launch_items(struct be_device *dev, enum cuda_kernel kernel, int64_t items, const void *args,
                              struct err *err);

/* ---- cuda_memory.c; the first four within cuda_enter ---- */
moco_status cuda_take(struct be_device *dev, size_t bytes, struct be_memory *out, struct err *err);
void cuda_give(struct be_device *dev, struct be_memory *memory);
moco_status cuda_put(struct be_device *dev, void *at, const void *host, size_t bytes, struct err *err);
moco_status cuda_fetch(struct be_device *dev, void *host, const void *at, size_t bytes, struct err *err);
moco_status cuda_staging_make(struct be_device *dev, struct err *err);
void cuda_staging_free(struct be_device *dev);
moco_status cuda_pinned(struct be_device *dev, size_t bytes, void **out, struct err *err);
static inline cu_address cuda_at(const void *at)
{
    return (cu_address)(uintptr_t)at;
}

moco_status cuda_alloc(struct be_device *dev, size_t bytes, struct be_memory *out, struct err *err);
void cuda_release(struct be_device *dev, struct be_memory *memory);
moco_status cuda_memory(struct be_device *dev, int64_t *live, int64_t *available, struct err *err);
moco_status cuda_zero(struct be_device *dev, void *at, size_t bytes, struct err *err);
moco_status cuda_copy(struct be_device *dev, void *to, const void *from, size_t bytes, struct err *err);
moco_status cuda_read(struct be_device *dev, void *host, const void *at, size_t bytes, struct err *err);
moco_status cuda_write(struct be_device *dev, void *at, const void *host, size_t bytes, struct err *err);
moco_status cuda_sync(struct be_device *dev, struct err *err);
moco_status cuda_cancel_alloc(struct be_device *dev, _Atomic int **out, struct err *err);
void cuda_cancel_free(struct be_device *dev, _Atomic int *cancel);
moco_status cuda_host_alloc(struct be_device *dev, size_t bytes, void **out, struct err *err);
void cuda_host_free(struct be_device *dev, void *memory, size_t bytes);
/* Not within: does all of it lie in one block of host_alloc? */
int cuda_is_lent(struct be_device *dev, const void *memory, size_t bytes);
moco_status cuda_mark(struct be_device *dev, void **event, struct err *err);
moco_status cuda_await(struct be_device *dev, void *event, struct err *err);

/* ---- cuda_layout.c ---- */
moco_status cuda_layout_create(struct be_layout **out, struct be_device *dev, const struct graph *graph,
                               enum be_precision precision, struct err *err);
void cuda_layout_free(struct be_layout *layout);
size_t cuda_layout_bytes(const struct be_layout *layout);
size_t cuda_param_at(const struct be_layout *layout, int index);
moco_status cuda_param_get(const struct be_layout *layout, const void *slab, int index, double *values,
                           struct err *err);
moco_status cuda_param_set(const struct be_layout *layout, void *slab, int index, const double *values,
                           struct err *err);

/* ---- cuda_slab.c ---- */
moco_status cuda_measure_slab(const struct be_layout *layout, const void *slab, double *sum_squares, int *bad,
                              struct err *err);
size_t cuda_reader_bytes(const struct be_layout *layout, int backward);
moco_status cuda_readers(const struct be_layout *layout, int backward, const void *masters, void *out, struct err *err);
/* Within cuda_enter: queues the copies that plans of `precision` read. */
moco_status cuda_copy_weights(const struct be_layout *layout, enum be_precision precision, const void *masters,
                              void *out, struct err *err);
size_t cuda_copies_bytes(const struct be_layout *layout, enum be_precision precision);
size_t cuda_key_bytes(const struct be_layout *layout);
moco_status cuda_ema_readers(struct be_program *program, const void *k, const void *q, void *out, struct err *err);
moco_status cuda_check_slab(struct be_program *program, enum be_what what, const void *slab, struct err *err);
moco_status cuda_sgd(struct be_program *program, const struct be_sgd *io, struct err *err);

/* ---- cuda_program.c ---- */
moco_status cuda_program_create(struct be_program **out, struct be_device *dev, const struct be_program_spec *spec,
                                struct err *err);
void cuda_program_free(struct be_program *program);
void cuda_program_reset(struct be_program *program);
moco_status cuda_program_begin(struct be_program *program, const struct be_scalars *scalars,
                               const struct be_input *input, struct be_input *at, int *skip, struct err *err);
int cuda_found(const struct be_program *program);
moco_status cuda_part(struct be_program *program, struct err *err);
moco_status cuda_verdict(struct be_program *program, struct be_outcome *out, struct err *err);
moco_status cuda_decide(struct be_program *program, be_cancel *cancel, uint32_t veto, int *skip, struct err *err);
moco_status cuda_program_end(struct be_program *program, struct err *err);
void cuda_program_drop(struct be_program *program);
moco_status cuda_outcome(struct be_program *program, int wait, int *known, struct be_outcome *out, struct err *err);
int cuda_behind(const struct be_program *program);
/* MOCO_ESTATE unless `call` belongs before decide; or (commit) after it. */
moco_status cuda_in_work(const struct be_program *program, const char *call, struct err *err);
moco_status cuda_in_commit(const struct be_program *program, const char *call, struct err *err);

/* ---- cuda_record.c; all within cuda_enter ---- */

/* A recording: what this thread queues is queued as ever, and noted on the program's tape. Nothing of it can fail the
 * step: a recording that is not taken is told in the log, and the program's steps are queued call by call from then on. */
void cuda_record_begin(struct be_program *program);
/* *out gets it, in place of what it was; NULL if nothing was queued. 0: it was not taken. */
int cuda_record_end(struct be_program *program, cu_graph_exec *out);
void cuda_record_drop(struct be_program *program); /* an open recording, if there is one */
void cuda_record_forget_turn(struct be_program *program, struct cuda_turn *turn);
void cuda_record_forget(struct be_program *program);
/* The program that records this thread's calls; NULL: none. cuda_tape: for a call that is made now. And: the tape said
 * so. */
struct be_program *cuda_recorder(const struct be_device *dev);
struct be_program *cuda_tape(struct be_device *dev);
void cuda_recorded(struct be_program *program, cu_result result, const char *what);

/* ---- cuda_rows.c ---- */
moco_status cuda_gather(struct be_program *program, void *out, const void *rows, const int32_t *index, int n, int dim,
                        struct err *err);
moco_status cuda_scatter(struct be_program *program, void *out, const void *rows, const int32_t *index, int n, int dim,
                         struct err *err);
moco_status cuda_check_rows(struct be_program *program, enum be_what what, const void *rows, const int32_t *names,
                            int n, int dim, struct err *err);
moco_status cuda_check_stats(struct be_program *program, enum be_what what, const struct graph *graph,
                             const void *stats, struct err *err);
moco_status cuda_row_std(struct be_program *program, const void *rows, int n, int dim, struct err *err);
moco_status cuda_stats_commit(struct be_program *program, const struct graph *graph, void *running, const void *stage,
                              int groups, struct err *err);
moco_status cuda_push(struct be_program *program, void *queue, int64_t length, const void *keys, int n, int dim,
                      struct err *err);

/* ---- view/cuda_views.c ---- */
moco_status cuda_pictures_create(struct be_pictures **out, struct be_device *dev, int64_t count,
                                 const int32_t (*side)[2], struct err *err);
moco_status cuda_pictures_put(struct be_pictures *pictures, int64_t index, const void *rgb, struct err *err);
void cuda_pictures_free(struct be_pictures *pictures);
int64_t cuda_pictures_bytes(int64_t count, int64_t pixels);
/* MOCO_EINVAL or MOCO_ENOTSUP unless `count` views of `size` can be made of the pictures. */
moco_status cuda_views_check(const struct be_pictures *pictures, const struct pixel_view *views, int count, int size,
                             struct err *err);
/* Within cuda_enter: queues, in the stream of inputs, what makes them; `views` and `out` in device memory. */
moco_status cuda_views_make(const struct be_pictures *pictures, const struct pixel_view *views, int count, int size,
                            void *out, struct err *err);

/* ---- nearest/cuda_nearest.c ---- */
size_t cuda_nearest_scratch(struct be_device *dev, int n, int dim, int64_t count, int k);
moco_status cuda_nearest(struct be_device *dev, const struct be_nearest *io, void *scratch, struct err *err);

/* ---- nccl/nccl_ranks.c ---- */
moco_status cuda_ranks_id(struct be_device *dev, void *id, char library[BE_LIBRARY], struct err *err);
moco_status cuda_ranks_open(struct be_device *dev, const void *id, int rank, int ranks, struct moco_comm_engine *engine,
                            struct err *err);
/* cuda_tables.nccl of this machine: loads it once. */
moco_status cuda_nccl(const struct nccl_library **out, struct err *err);

/* Runs `call` within cuda_enter and cuda_leave. */
#define CUDA_WITHIN(dev, call)                                                                                         \
    do {                                                                                                               \
        TRY(cuda_enter((dev), err));                                                                                   \
        moco_status within_ = (call);                                                                                  \
        cuda_leave(dev);                                                                                               \
        if (within_ != MOCO_OK)                                                                                        \
            return within_;                                                                                            \
    } while (0)

#endif
