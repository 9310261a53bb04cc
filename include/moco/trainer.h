/* SPDX-License-Identifier: MIT
 *
 * moco/trainer.h: one training step at a time. The loop, the epochs and the schedule belong to the caller. */
#ifndef MOCO_TRAINER_H
#define MOCO_TRAINER_H

#include "moco/base.h"
#include "moco/comm.h"
#include "moco/model.h"
#include "moco/queue.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct moco_trainer moco_trainer;
typedef struct moco_pictures moco_pictures;

/* The images of one step: `views` contiguous uint8 RGB arrays [n,h,w,3]. A loader fills it (all pointers are then
 * borrowed until the next moco_loader_next), or the caller does. view[0] is the query view, view[1] the key view.
 *
 * Key views may also come apart, already in the order of the shuffle, as moco_loader_start_keys makes them. Row i of
 * key[d] is then the key view of sample order[i] of the batch, where order is moco_shuffle_permutation(seed, step,
 * d, batch_size) for the step that the batch is for. (With several ranks it is order[p], where p is the position of
 * row i of this rank's share.) d is the direction: key[0] holds views 1; key[1], only with a symmetric loss, views
 * 0. view[1] is then needed only with a symmetric loss. Training gives the same bits either way.
 *
 * Or the trainer's device makes the views, of pictures that it keeps (moco_pictures_create in moco/data.h): a loader then
 * fills `made` in place of view, and `made_key` in place of key, with what was drawn, in a form of its own. */
typedef struct moco_batch {
    uint32_t struct_size;
    int32_t n, h, w; /* n: rows; of a loader with several ranks, those of its share */
    int32_t views;   /* 1 or 2 */
    int32_t reserved0;
    const uint8_t *view[2];
    const int64_t *ids;    /* [n] sample numbers in the data set; may be NULL */
    int64_t epoch;         /* epoch of the batch: the trainer remembers it, a checkpoint saves it */
    int64_t position;      /* samples of the epoch consumed up to and including this batch, by all ranks together */
    const uint8_t *key[2]; /* key views apart, [n,h,w,3] each; NULL: the trainer shuffles view[1] (and view[0]) */
    int64_t key_step;      /* with key[0]: number of committed steps before the step of this shuffle; without: -1 */
    uint64_t key_seed;     /* with key[0]: the seed of the shuffle, equal to the trainer's */
    const moco_pictures *pictures; /* of which the views are made; NULL: view and key have them */
    const void *made[2];           /* [n] each, of a loader; with pictures */
    const void *made_key[2];
} moco_batch;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_batch_init_sized(moco_batch *batch, size_t size);
#define moco_batch_init(b) moco_batch_init_sized((b), sizeof *(b))

/* Called after each launch of a step (a forward or backward pass over some of its BN groups), on the thread that
 * called moco_trainer_step. Of the trainer's functions it may call moco_trainer_cancel, _cursor and _report (others
 * return MOCO_ESTATE); of the queue's functions those that read; and it may embed with, save and read the model. */
typedef void (*moco_progress)(void *user, int launches_done, int launches);

/* The source of negatives: keys of earlier batches (MoCo), or the batch itself (SimCLR, the end-to-end mechanism). */
typedef enum moco_negatives {
    MOCO_NEGATIVES_QUEUE = 0,
    MOCO_NEGATIVES_BATCH = 1,
    MOCO_NEGATIVES_MAX_ = 0x7fffffff
} moco_negatives;

/* The encoder of keys. MOMENTUM: a moving average of the query encoder, which gradients do not reach. SHARED: the
 * query encoder itself, back-propagated through both views in one launch of the whole batch. */
typedef enum moco_key_encoder {
    MOCO_KEY_MOMENTUM = 0,
    MOCO_KEY_SHARED = 1,
    MOCO_KEY_MAX_ = 0x7fffffff
} moco_key_encoder;

/* INFONCE: the cross-entropy of a query against its key and the negatives, averaged over the batch. NTXENT
 * (SimCLR's, loss_a + loss_b of google-research/simclr): each of the 2 n views against its partner and the 2 n - 2
 * others, summed and divided by n. That is twice the mean over views that other libraries report. */
typedef enum moco_loss { MOCO_LOSS_INFONCE = 0, MOCO_LOSS_NTXENT = 1, MOCO_LOSS_MAX_ = 0x7fffffff } moco_loss;

/* SGD: as PyTorch's, with weight decay on every trainable tensor. LARS: as google-research/simclr's. The rate of
 * each weight tensor is scaled by trust_coefficient |w| / |g + weight_decay w|. Weights and biases of BN, and all
 * biases, have neither scaling nor decay. The rate is part of the momentum buffer. */
typedef enum moco_optimizer {
    MOCO_OPTIMIZER_SGD = 0,
    MOCO_OPTIMIZER_LARS = 1,
    MOCO_OPTIMIZER_MAX_ = 0x7fffffff
} moco_optimizer;

/* Options of training. The defaults are MoCo v2 of the paper. Three options together select the mechanism:
 *
 *                       negatives   encoder_k   loss      gradients reach
 *   MoCo                QUEUE       MOMENTUM    INFONCE   the queries
 *   keys of the batch   BATCH       MOMENTUM    INFONCE   the queries (MoCo without its queue)
 *   end-to-end          BATCH       SHARED      INFONCE   queries and keys: n queries against n keys
 *   SimCLR              BATCH       SHARED      NTXENT    both views
 *
 * No other combination makes sense, and all others are refused. With a shared encoder the batch is one launch of 2 n
 * images, view 0 before view 1, whatever memory that takes. A BN group is then bn_group_size neighbours among those
 * 2 n: a divisor of batch_size makes groups of one view each; 2 x batch_size makes the one group of both views that
 * SimCLR has. */
typedef struct moco_trainer_options {
    uint32_t struct_size;
    int32_t batch_size;    /* images per step, of all ranks together: a multiple of bn_group_size */
    int32_t bn_group_size; /* images whose BN statistics are computed together (reference: 32); with a shared encoder
                              also 2 x batch_size */
    int32_t groups_per_launch; /* most BN groups in one launch: the largest divisor of the number of groups (of this
                                  rank) that is not above it is used. More groups take more memory, and sums are
                                  rounded in another order. 0: chosen from the configuration alone. With a shared
                                  encoder all groups are one launch */
    int32_t image_h, image_w;
    double temperature;     /* T: 0.2 (v2), 0.07 (v1) */
    double key_momentum;    /* m of the key encoder: 0.999 */
    double sgd_momentum;    /* 0.9 */
    double weight_decay;    /* 1e-4; see moco_optimizer on which tensors */
    int32_t precision;      /* moco_precision */
    int32_t symmetric;      /* 1: loss L(1,2) + L(2,1), both views' keys are enqueued; needs a momentum encoder */
    int32_t shuffle;        /* 1: key views are permuted among the BN groups (ShuffleBN); 0 is for experiments only */
    int32_t interleave;     /* 1: sample n belongs to group n mod groups (the CIFAR notebook); 0: contiguous slices */
    uint64_t seed;          /* of the shuffles */
    moco_progress progress; /* may be NULL */
    void *progress_user;
    int32_t negatives;        /* moco_negatives */
    int32_t encoder_k;        /* moco_key_encoder; SHARED: key_momentum is not used */
    int32_t loss;             /* moco_loss */
    int32_t optimizer;        /* moco_optimizer */
    double trust_coefficient; /* LARS: 0.001 */
    int32_t recompute; /* 1: the backward pass computes the outputs of batch norm a second time, so that they need not
                          be kept: less memory, a slower step, the same bits ("ref" ignores it and keeps them).
                          0: "cpu" does this in f32, for the largest outputs */
    int32_t ahead;     /* 1: moco_trainer_step may return before the device has done the step; see there. 0: it waits */
    moco_comm *comm; /* NULL: one rank. The ranks of the training, of which this trainer is one; a counted reference */
} moco_trainer_options;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_trainer_options_init_sized(moco_trainer_options *options, size_t size);
#define moco_trainer_options_init(o) moco_trainer_options_init_sized((o), sizeof *(o))

/* What the last step measured. Means are taken over the batch. */
typedef struct moco_step_report {
    uint32_t struct_size;
    int32_t reserved0;
    int64_t step;       /* steps so far: committed, or skipped */
    double loss;        /* mean InfoNCE (sum of both directions if symmetric), or NT-Xent as moco_loss says */
    double chance_loss; /* the loss of guessing: ln C for C candidates, twice that if symmetric or NT-Xent. C is K + 1
                           with a queue, n with keys of the batch, 2 n - 1 with NT-Xent */
    double acc1, acc5;  /* percent of queries whose positive is the best (among the best five) of C; ties count half */
    double pos_cosine;  /* mean cosine of query and its key */
    double neg_cosine;  /* mean cosine of queries and their negatives */
    double feature_std; /* std of normalised queries over the batch, averaged over dimensions; at best 1/sqrt(dim) */
    double grad_norm;   /* L2 norm of all weight gradients, before weight decay; 0 of a step that was skipped */
    double queue_fill;  /* fraction of the queue that holds real keys, 0..1; 0 without a queue */
    double lr;          /* as passed to the step */
    double loss_scale;  /* F16: what gradients were multiplied by in this step; else 1 */
    int64_t skipped; /* F16: of `step`, those that moved nothing, because a gradient was too large for the loss scale */
} moco_step_report;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_step_report_init_sized(moco_step_report *report, size_t size);
#define moco_step_report_init(r) moco_step_report_init_sized((r), sizeof *(r))

/* Makes a trainer: `model` is the query encoder; `queue` holds the negatives (NULL exactly if negatives come from
 * the batch). The trainer makes its own key encoder, a copy of `model`, unless the encoder is shared. Options are
 * copied. The trainer holds references on model and queue, so that they may be freed in any order. One model or
 * queue in two trainers is MOCO_ESTATE. All execution plans are made and all memory is allocated by this call; a
 * step allocates nothing. Owned.
 *
 * With a comm of several ranks all ranks make this call, and all of them fail if one does. Options, networks and kinds
 * of CPU must be the same (the sentence says what is not). Each rank takes batch_size / ranks images, which are whole BN
 * groups. Each rank makes its queue with the same seed.
 * Errors: MOCO_EINVAL names the option (if batch_size is not a multiple of bn_group_size: both), MOCO_ENOTSUP
 * (precision; with ranks, one BN group of the whole batch, or a device with memory of its own that the comm's engine
 * cannot exchange), MOCO_ESTATE, MOCO_ENOMEM, MOCO_ECOMM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_trainer_create(moco_trainer **trainer, moco_model *model, moco_queue *queue,
                                         const moco_trainer_options *options);

/* Frees the handle. NULL is allowed. The model keeps the trained weights. A step that is running is not disturbed;
 * the trainer is released when it ends.
 * Threads: any thread may free it, once; nobody may use it afterwards. Since 0.1. */
MOCO_API void moco_trainer_free(moco_trainer *trainer);

/* Runs one training step. The batch has batch_size images of image_h x image_w in 2 views; they have been read when
 * the call returns.
 *
 * A step of MoCo (algorithm 1, in the reference's order):
 *  - The key encoder moves: key <- m key + (1 - m) query, for parameters only, not for BN buffers.
 *  - The shuffled key views are encoded.
 *  - Launch by launch, the query views are encoded, InfoNCE is computed against the queue as it was before the
 *    step, and its gradient is back-propagated.
 *  - SGD or LARS updates the weights with rate `lr`.
 *  - The keys are enqueued.
 *
 * With a shared encoder a step is one forward of both views (the second one shuffled), the loss among them, one
 * backward, and the update. BN buffers move once per forward.
 *
 * A step is a transaction: on any failure nothing has changed, and a retry gives the same bits as if the failed call
 * had not been made.
 *
 * In F16 the loss is multiplied by a scale, because small gradients are no such numbers; the update divides by it. A
 * gradient that overflows is no failure: the step is skipped. It moves the counters (step, epoch, position), because the
 * batch is behind, and halves the scale, and nothing else; the report counts it. After 2000 steps without one the scale is
 * doubled. It begins at 65536 and is part of the state that is saved. If it would fall below 1, the step fails with
 * MOCO_ENUMERIC. All ranks skip the same steps.
 *
 * With options.ahead, where moco_device_info.ahead is 1, the call returns when the device has the whole step, though it
 * may not have done it yet. The images have been read all the same. The step is then in flight:
 *  - The next moco_trainer_step gives its own step to the device and then waits for the one in flight, so that the device
 *    is never without work. Report and cursor are those of the step before.
 *  - moco_trainer_wait waits for it, and so does every call that reads or writes the state before it begins: those of
 *    the trainer but _report, _cursor and _cancel; on its model those that embed, fold, save, export or read; those on its queue.
 *  - moco_trainer_free waits for it, so that the model has it.
 * A failure of the step in flight, or that it was cancelled, is what the next of these calls on the trainer returns, once;
 * the call does nothing else. A batch given to it was not used. (Calls on model and queue do not tell it; after
 * moco_trainer_free a warning in the log does.) After a call of moco_trainer_step that failed, for whatever reason, nothing
 * is in flight: moco_trainer_cursor says which batch was committed last, and those behind it are to be given again.
 * Bits are the same as without the option. In F16 a step that was given behind one that is skipped is done again
 * within the call. A gradient in flight that is larger than about 10^31 / lr (f32) fails with MOCO_ENUMERIC, and its batch
 * goes through when it is given again, if it would without the option. With ranks, or with options.progress, nothing is
 * ever in flight.
 *
 * With ranks all of them make this call. `batch` has this rank's share; with shuffle 1 its key views come apart
 * (moco_loader_start_keys). If one rank fails or is cancelled, all ranks return that status, with that rank's sentence,
 * and nothing has changed on any. The same holds if ranks differ in step, epoch, position, rate or state
 * (MOCO_ESTATE). MOCO_ECOMM: a rank was lost; the state is that of the last committed step.
 * Errors: MOCO_EINVAL, MOCO_ESHAPE, MOCO_ECANCELED; MOCO_ENUMERIC: a loss, a gradient, or a weight after the update
 * is not finite (the sentence names the first such tensor); MOCO_ESTATE: the device is not ready, or this is a
 * forked child, or key views apart follow the shuffle of another step (the sentence says where to start the loader
 * again).
 * Threads: a trainer serves one call at a time; on its queue it counts as moco_queue_push. Since 0.1. */
MOCO_API moco_status moco_trainer_step(moco_trainer *trainer, const moco_batch *batch, double lr);

/* Waits until no step is in flight (see moco_trainer_step, "ahead"), so that report and cursor are those of the last step
 * given. Without options.ahead there is nothing to wait for.
 * Errors: those of the step, if it was not committed and that was not told yet.
 * Threads: the rule of moco_trainer_step. Since 0.1. */
MOCO_API moco_status moco_trainer_wait(moco_trainer *trainer);

/* Called instead of moco_trainer_step by a rank that has no batch while others may have one: its loader failed, or the
 * epoch is over. The step of every rank then returns `why` (or the status of a lower rank that failed too), with
 * `sentence` after the rank's number. `why` may be MOCO_EEND, but not MOCO_OK; `sentence` NULL means the text of `why`.
 * Nothing changes, and a step may follow. Returns what the others return; with one rank, `why`.
 * Threads: the rule of moco_trainer_step. Since 0.1. */
MOCO_API moco_status moco_trainer_leave(moco_trainer *trainer, moco_status why, const char *sentence);

/* Fills `report` for the last step that was committed or skipped; one in flight is not, and is not waited for.
 * Errors: MOCO_ESTATE before the first step.
 * Threads: a trainer serves one call at a time; the progress callback may call it. Since 0.1. */
MOCO_API moco_status moco_trainer_report(moco_trainer *trainer, moco_step_report *report);

/* Cancels the running step at its next operation; if no step is running, the next one. It applies once. That step
 * returns MOCO_ECANCELED; of one in flight, the call that waits for it does.
 * Threads: any thread may call it at any time; it is async-signal-safe. Since 0.1. */
MOCO_API void moco_trainer_cancel(moco_trainer *trainer);

/* Copy any part of the training state out (get) or in (set), by name: encoder_q.*, encoder_k.*,
 * momentum.encoder_q.*, grad.encoder_q.* (of the last step), queue [C,K], queue_ptr [1] (i64). Shapes are the
 * reference's; types are f32, f64 or i64. Parts that a mechanism does not have (a queue, encoder_k.*) have no names.
 * If `tensor->data` is NULL, get only fills dtype, ndim and shape.
 * Errors: MOCO_ENOTFOUND, MOCO_ESHAPE; set also MOCO_ENUMERIC: a number is not finite in the type that holds it,
 * MOCO_EINVAL: grad.*, a negative variance, an invalid count.
 * Threads: the rule of moco_trainer_step. Since 0.1. */
MOCO_API moco_status moco_trainer_get(moco_trainer *trainer, const char *name, moco_tensor *tensor);
MOCO_API moco_status moco_trainer_set(moco_trainer *trainer, const char *name, const moco_tensor *tensor);

/* The name of state tensor `index`; NULL past the end. Borrowed from the trainer.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API const char *moco_trainer_tensor_name(const moco_trainer *trainer, int index);

/* How far training has come: the number of committed steps, and the epoch and position of the last committed batch
 * (0, 0 before the first step); a step in flight does not count. A loader continues there, with any number of ranks. Any
 * output may be NULL.
 * Threads: the rule of moco_trainer_report. Since 0.1. */
MOCO_API moco_status moco_trainer_cursor(const moco_trainer *trainer, int64_t *step, int64_t *epoch, int64_t *position);

/* Save and load the whole training state as a safetensors file. Save writes a temporary file, fsyncs and renames it,
 * and fsyncs the folder. `note` is a string of the caller, saved beside the state (NULL: none). Equal states with
 * equal notes give equal bytes.
 *
 * Load verifies the whole file before it changes anything. A checkpoint of another configuration is MOCO_EINVAL, and
 * the sentence names the difference. Two differences are accepted. Another groups_per_launch: the trainer's own
 * value stays in effect, and the log has one MOCO_LOG_WARN line. Another precision, if options.precision named the
 * trainer's (not AUTO) and both keep their weights in one type (f32, bf16, fp16, tf32): a line in the log says that
 * the bits differ from there on.
 * Errors: MOCO_EIO, MOCO_EFORMAT, MOCO_EINVAL, MOCO_ENOMEM. A number that is not finite, or a running variance below
 * 0, is MOCO_ENUMERIC in save, which then writes nothing, and MOCO_EFORMAT in load; the sentence names tensor and
 * index.
 * Threads: the rule of moco_trainer_step. Since 0.1. */
MOCO_API moco_status moco_trainer_save(moco_trainer *trainer, const char *path, const char *note);
MOCO_API moco_status moco_trainer_load(moco_trainer *trainer, const char *path);

/* Reads the configuration and the note of a checkpoint without its tensors, so that a program can create the
 * matching model, queue and trainer. Any output may be NULL. Strings inside `model` are static. `note` is filled
 * with up to `note_size` bytes and ends in 0. A file without the tensors that its configuration requires is
 * MOCO_EFORMAT: so a small file cannot make a program allocate memory for a large one.
 * Errors: MOCO_EIO, MOCO_EFORMAT; MOCO_ESHAPE: the note is longer than note_size.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_checkpoint_describe(moco_context *context, const char *path, moco_model_options *model,
                                              moco_trainer_options *trainer, int64_t *queue_length, char *note,
                                              size_t note_size);

/* The memory that training with given options takes, by kind. A queue_length of 0 means that there is no queue. */
typedef struct moco_memory_estimate {
    uint32_t struct_size;
    int32_t launches;      /* per forward of a batch */
    int64_t parameters;    /* count of trainable numbers */
    int64_t weights_bytes; /* master weights of query and key encoder (one if shared), BN buffers */
    int64_t reader_bytes;  /* working copies of the weights in the compute type */
    int64_t gradient_bytes;
    int64_t momentum_bytes;
    int64_t queue_bytes;
    int64_t slab_bytes;  /* one launch: activations, their gradients, scratch (with a shared encoder it grows with the
                            batch); and the embeddings of a step */
    int64_t total_bytes; /* all of these, which are memory of the device, and a few arrays of the host */
    double step_flops;   /* floating-point operations of convolutions and linear layers in a step: 2 per multiply-add */
    double step_seconds; /* expected time, from a short measurement of this machine; 0: the device cannot tell */
} moco_memory_estimate;
/* Fills in the defaults; called through the macro below. Threads: any thread may call it at any time. Since 0.1. */
MOCO_API void moco_memory_estimate_init_sized(moco_memory_estimate *estimate, size_t size);
#define moco_memory_estimate_init(e) moco_memory_estimate_init_sized((e), sizeof *(e))

/* Computes what a trainer with these options would take on `device`, without allocating it; the call needs a little
 * memory for a moment, to plan.
 * Errors: MOCO_EINVAL names the option, MOCO_ENOTSUP (precision), MOCO_ENOMEM.
 * Threads: any thread may call it at any time. Since 0.1. */
MOCO_API moco_status moco_trainer_estimate(moco_device *device, const moco_model_options *model, int64_t queue_length,
                                           const moco_trainer_options *options, moco_memory_estimate *estimate);

#ifdef __cplusplus
}
#endif
#endif
