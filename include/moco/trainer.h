/* SPDX-License-Identifier: MIT
 *
 * moco/trainer.h: one training step at a time; the loop, the epochs and the schedule are the caller's. */
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

/* Images for one step: `views` contiguous uint8 RGB arrays [n,h,w,3]. Filled by a loader (all pointers are borrowed
 * until its next `next`) or by the caller. view[0] is the query view, view[1] the key view.
 *
 * Key views may come apart, as moco_loader_start_keys makes them: row i of key[d] is then the key view of sample place[i]
 * of the batch, where place is moco_shuffle_permutation(seed, step, d, batch_size) for the step that the batch is for
 * (with ranks place[p], p being the place of row i of the share), and d the direction: key[0] holds views 1, and key[1],
 * for a symmetric loss alone, views 0. view[1] is then needed for a symmetric loss alone. Training is the same to the
 * bit either way. */
typedef struct moco_batch {
    uint32_t struct_size;
    int32_t n, h, w; /* n: rows, of a loader with `ranks` those of its share */
    int32_t views;   /* 1 or 2 */
    int32_t reserved0;
    const uint8_t *view[2];
    const int64_t *ids;    /* [n] sample numbers in the data set; may be NULL */
    int64_t epoch;         /* where the batch came from: the trainer remembers it, a checkpoint saves it */
    int64_t position;      /* samples of the epoch consumed up to and including this batch, by all ranks together */
    const uint8_t *key[2]; /* key views apart, [n,h,w,3] each; NULL: the trainer shuffles view[1] (and view[0]) */
    int64_t key_step;      /* with key[0]: committed steps before the one that the shuffle is of; -1 without */
    uint64_t key_seed;     /* with key[0]: the seed of the shuffle, which is that of the trainer */
} moco_batch;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_batch_init_sized(moco_batch *batch, size_t size);
#define moco_batch_init(b) moco_batch_init_sized((b), sizeof *(b))

/* Called after each launch of a step, on the thread that called step. Of the trainer's own calls it may make
 * moco_trainer_cancel, _cursor and _report (others are MOCO_ESTATE), of its queue's those that read; the model can be
 * embedded with, saved and read. */
typedef void (*moco_progress)(void *user, int launches_done, int launches);

/* Where negatives come from: keys of earlier batches (MoCo), or the batch itself (SimCLR, the end-to-end mechanism). */
typedef enum moco_negatives {
    MOCO_NEGATIVES_QUEUE = 0,
    MOCO_NEGATIVES_BATCH = 1,
    MOCO_NEGATIVES_MAX_ = 0x7fffffff
} moco_negatives;

/* What encodes keys: a momentum average of the query encoder, which gradients do not reach; or the query encoder
 * itself, back-propagated through both views in one launch of the whole batch. */
typedef enum moco_key_encoder {
    MOCO_KEY_MOMENTUM = 0,
    MOCO_KEY_SHARED = 1,
    MOCO_KEY_MAX_ = 0x7fffffff
} moco_key_encoder;

/* INFONCE: mean over the batch of the cross-entropy of a query against its key and the negatives. NTXENT (SimCLR's,
 * loss_a + loss_b of google-research/simclr): each of the 2 n views against its partner and the 2 n - 2 others, summed
 * and divided by n, so twice the mean over views that other libraries report. */
typedef enum moco_loss { MOCO_LOSS_INFONCE = 0, MOCO_LOSS_NTXENT = 1, MOCO_LOSS_MAX_ = 0x7fffffff } moco_loss;

/* SGD: PyTorch's, weight decay on every trainable tensor. LARS: google-research/simclr's: the rate of each weight
 * tensor is scaled by trust_coefficient |w| / |g + weight_decay w|; weights and biases of BN, and biases, take neither
 * scaling nor decay; the rate is part of the momentum buffer. */
typedef enum moco_optimizer {
    MOCO_OPTIMIZER_SGD = 0,
    MOCO_OPTIMIZER_LARS = 1,
    MOCO_OPTIMIZER_MAX_ = 0x7fffffff
} moco_optimizer;

/* Defaults: MoCo v2 of the paper. Which mechanism is trained is chosen by three options together:
 *
 *                       negatives   encoder_k   loss      gradients reach
 *   MoCo                QUEUE       MOMENTUM    INFONCE   the queries
 *   keys of the batch   BATCH       MOMENTUM    INFONCE   the queries (MoCo without its queue)
 *   end-to-end          BATCH       SHARED      INFONCE   queries and keys: n queries against n keys
 *   SimCLR              BATCH       SHARED      NTXENT    both views
 *
 * No other combination makes sense, and none is taken. With a shared encoder the batch is one launch of 2 n images,
 * view 0 before view 1, whatever memory that takes. A BN group is then bn_group_size neighbours among those 2 n: a
 * divisor of batch_size makes groups of one view each, and 2 x batch_size the one group of both views that SimCLR has. */
typedef struct moco_trainer_options {
    uint32_t struct_size;
    int32_t batch_size;    /* images per step, of all ranks together: a multiple of bn_group_size */
    int32_t bn_group_size; /* images over which BN takes its statistics (reference: 32); with a shared encoder it may
                              also be 2 x batch_size */
    int32_t groups_per_launch; /* BN groups run at once, at most: as many as divide the number of groups (of this rank).
                                  More take more memory, and round sums in another order. 0: chosen from the
                                  configuration alone; of a shared encoder all run at once */
    int32_t image_h, image_w;
    double temperature;     /* T: 0.2 (v2), 0.07 (v1) */
    double key_momentum;    /* m of the key encoder: 0.999 */
    double sgd_momentum;    /* 0.9 */
    double weight_decay;    /* 1e-4; see moco_optimizer on which tensors */
    int32_t precision;      /* moco_precision */
    int32_t symmetric;      /* 1: loss L(1,2) + L(2,1), both views' keys are enqueued; momentum encoder only */
    int32_t shuffle;        /* 1: key views are permuted among the BN groups (ShuffleBN); 0 only for experiments */
    int32_t interleave;     /* 1: sample n belongs to group n mod groups (the CIFAR notebook); 0: contiguous slices */
    uint64_t seed;          /* of the shuffles */
    moco_progress progress; /* may be NULL */
    void *progress_user;
    int32_t negatives;        /* moco_negatives */
    int32_t encoder_k;        /* moco_key_encoder; SHARED: key_momentum is not used */
    int32_t loss;             /* moco_loss */
    int32_t optimizer;        /* moco_optimizer */
    double trust_coefficient; /* LARS: 0.001 */
    int32_t recompute; /* 1: outputs of batch norm are computed a second time in the backward pass rather than kept:
                          less memory, a slower step, the same numbers bit by bit; "ref" keeps them all the same.
                          0: "cpu" does so with the largest in f32 */
    int32_t reserved0;
    moco_comm *comm; /* NULL: one rank. The ranks of the training, of which this trainer is one; a counted reference */
} moco_trainer_options;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_trainer_options_init_sized(moco_trainer_options *options, size_t size);
#define moco_trainer_options_init(o) moco_trainer_options_init_sized((o), sizeof *(o))

/* What the last committed step measured. Means are over the batch. */
typedef struct moco_step_report {
    uint32_t struct_size;
    int32_t reserved0;
    int64_t step;       /* committed steps so far */
    double loss;        /* mean InfoNCE (sum of both directions if symmetric), or NT-Xent as moco_loss says */
    double chance_loss; /* of C candidates ln C, twice that if symmetric or NT-Xent. C: queue K + 1, keys of the batch
                           n, NT-Xent 2 n - 1 */
    double acc1, acc5;  /* percent: the positive is the best, among the best five, of C; ties count half */
    double pos_cosine;  /* mean cosine of query and its key */
    double neg_cosine;  /* mean cosine of queries and their negatives */
    double feature_std; /* mean over dimensions of the std of normalised queries over the batch; 1/sqrt(C) at best */
    double grad_norm;   /* L2 norm of all weight gradients, before weight decay */
    double queue_fill;  /* part of the queue that holds real keys, 0..1; 0 without a queue */
    double lr;          /* as passed */
} moco_step_report;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_step_report_init_sized(moco_step_report *report, size_t size);
#define moco_step_report_init(r) moco_step_report_init_sized((r), sizeof *(r))

/* Trains `model` as the query encoder against `queue` (NULL if negatives come from the batch, and only then); makes its
 * own key encoder, a copy of `model`, unless the encoder is shared. Options are copied. Model and queue are used until
 * the trainer is freed (references are counted, any order of freeing is right); one model or queue in two trainers is
 * MOCO_ESTATE. Every plan is made and all memory is taken here.
 * With a comm of several ranks it is a call of all of them, which all fail if one does; options, networks and kinds of
 * CPU must be the same (the sentence says what is not), and each rank takes batch_size / ranks images, which are whole BN
 * groups. A queue of each rank is made with the same seed.
 * Errors: MOCO_EINVAL names the option (batch_size not a multiple of bn_group_size: both), MOCO_ENOTSUP (precision; with
 * ranks, one BN group of the whole batch, or a device with memory of its own), MOCO_ENOMEM, MOCO_ECOMM. Threads: any.
 * Since 0.1. */
MOCO_API moco_status moco_trainer_create(moco_trainer **trainer, moco_model *model, moco_queue *queue,
                                         const moco_trainer_options *options);

/* NULL is fine. The model keeps the trained weights. Threads: any, once; a step that runs is not disturbed, and
 * the trainer goes with its end. Since 0.1. */
MOCO_API void moco_trainer_free(moco_trainer *trainer);

/* One training step. MoCo (algorithm 1; the reference's order): key <- m key + (1 - m) query on parameters, never on BN
 * buffers; embed the shuffled key views; per launch embed the query views, InfoNCE against the queue as it was,
 * back-propagate; SGD or LARS with rate `lr`; enqueue the keys. Shared encoder: one forward of both views, the second
 * shuffled; loss among them; one backward; update. BN buffers move once per forward. The batch has batch_size images of
 * image_h x image_w in 2 views, which have been read when the call returns. A step is a transaction: on any failure
 * nothing has changed, and a retry gives the same bits as if the failed call had not been made.
 * Errors: MOCO_EINVAL, MOCO_ESHAPE, MOCO_ECANCELED, MOCO_ENUMERIC (loss or gradient not finite, or a weight after the
 * update: the sentence names the first such tensor), MOCO_ESTATE (the device is not ready, or a forked child; or key
 * views apart follow the shuffle of another step: the sentence says where to start the loader again).
 * With ranks it is a call of all of them: `batch` has this rank's share, and with shuffle 1 its key views come apart
 * (moco_loader_start_keys). A failure on one rank, cancellation too, is returned by all, with that rank's sentence, and
 * nothing has changed on any; so is a step, epoch, position, rate or state in which ranks differ (MOCO_ESTATE). MOCO_ECOMM:
 * a rank was lost; the state is that of the last committed step.
 * Threads: one call per trainer, and as moco_queue_push on its queue. Since 0.1. */
MOCO_API moco_status moco_trainer_step(moco_trainer *trainer, const moco_batch *batch, double lr);

/* Instead of a step, for a rank that has no batch while others may have one (its loader failed, or the epoch is over):
 * the step of every rank returns `why`, or what a lower rank has to say, with `sentence` behind the rank's number. `why`
 * may be MOCO_EEND, but not MOCO_OK; `sentence` NULL stands for the text of `why`. Returns what the others return; with
 * one rank, `why`. Nothing changes, and a step may follow. Threads: as moco_trainer_step. Since 0.1. */
MOCO_API moco_status moco_trainer_leave(moco_trainer *trainer, moco_status why, const char *sentence);

/* Fills `report` for the last committed step. MOCO_ESTATE before the first. Threads: one call per trainer; progress
 * may call it. Since 0.1. */
MOCO_API moco_status moco_trainer_report(moco_trainer *trainer, moco_step_report *report);

/* Drops the running step at the next op, or the next step if none runs, once: it returns MOCO_ECANCELED.
 * Threads: any, and async-signal-safe. Since 0.1. */
MOCO_API void moco_trainer_cancel(moco_trainer *trainer);

/* Copies any part of the training state by name: encoder_q.*, encoder_k.*, momentum.encoder_q.*, grad.encoder_q.* (of
 * the last step), queue [C,K], queue_ptr [1] (i64), in the reference's shapes; f32, f64 or i64. What a mechanism does
 * not have (a queue, encoder_k.*) has no names either. With `tensor->data` NULL get only fills dtype, ndim and shape.
 * Errors: MOCO_ENOTFOUND, MOCO_ESHAPE; of set MOCO_ENUMERIC: a number is not finite in the type that holds it,
 * MOCO_EINVAL: grad.*, a negative variance, a count that is none. Threads: as step. Since 0.1. */
MOCO_API moco_status moco_trainer_get(moco_trainer *trainer, const char *name, moco_tensor *tensor);
MOCO_API moco_status moco_trainer_set(moco_trainer *trainer, const char *name, const moco_tensor *tensor);

/* Name of state tensor `index`; NULL past the end. Borrowed from the trainer. Threads: any. Since 0.1. */
MOCO_API const char *moco_trainer_tensor_name(const moco_trainer *trainer, int index);

/* Where training stands: committed steps, and epoch and position of the last committed batch (0, 0 at first): where a
 * loader goes on, of however many ranks. Any output may be NULL. Threads: as report. Since 0.1. */
MOCO_API moco_status moco_trainer_cursor(const moco_trainer *trainer, int64_t *step, int64_t *epoch, int64_t *position);

/* Whole training state to a safetensors file (temporary file, fsync, rename, fsync of the folder), and back. `note` is
 * a caller's own string, saved beside the state (NULL: none); equal states with equal notes give equal bytes. Load
 * verifies the whole file before it changes anything; a checkpoint of another configuration is MOCO_EINVAL and the
 * sentence names the difference. Another groups_per_launch alone is taken: the trainer's own holds from there on, with
 * one MOCO_LOG_WARN line. So is another precision, if options.precision named the trainer's (not AUTO) and both keep
 * their weights in one type (f32, bf16, f16, tf32): a line in the log says that the bits are others from there.
 * Errors: MOCO_EIO, MOCO_EFORMAT, MOCO_EINVAL, MOCO_ENOMEM; of save MOCO_ENUMERIC: the state holds a number that is
 * not finite or a running variance below 0, and nothing is written; in a file such a number is MOCO_EFORMAT. The
 * sentence names tensor and place. Threads: as step. Since 0.1. */
MOCO_API moco_status moco_trainer_save(moco_trainer *trainer, const char *path, const char *note);
MOCO_API moco_status moco_trainer_load(moco_trainer *trainer, const char *path);

/* Reads the configuration and the note from a checkpoint without its tensors, so that a program can create the matching
 * model, queue and trainer. A file that does not hold the tensors that its configuration asks for is MOCO_EFORMAT: a
 * small one does not make anybody take memory for a large one. Any output may be NULL. Strings inside `model` are
 * static. `note` is filled with up to `note_size` bytes and ends in 0. Errors: MOCO_EIO, MOCO_EFORMAT; MOCO_ESHAPE: the
 * note is longer than note_size. Threads: any. Since 0.1. */
MOCO_API moco_status moco_checkpoint_describe(moco_context *context, const char *path, moco_model_options *model,
                                              moco_trainer_options *trainer, int64_t *queue_length, char *note,
                                              size_t note_size);

/* Bytes by kind that training with these options takes, without taking them. A queue_length of 0 stands for no queue.
 */
typedef struct moco_memory_estimate {
    uint32_t struct_size;
    int32_t launches;      /* per forward of a batch */
    int64_t parameters;    /* count of trainable numbers */
    int64_t weights_bytes; /* query and key masters (one of both if shared), BN buffers */
    int64_t reader_bytes;  /* copies in the compute type */
    int64_t gradient_bytes;
    int64_t momentum_bytes;
    int64_t queue_bytes;
    int64_t slab_bytes;  /* one launch: activations, their gradients, scratch (with a shared encoder it grows with the
                            batch); and the embeddings of a step */
    int64_t total_bytes; /* all of these, which are memory of the device, and a few arrays of the host */
    double step_flops;   /* operations of convolutions and linear layers in one step: 2 per multiply-add */
    double step_seconds; /* expected, from a short measurement of this machine; 0: the device cannot tell */
} moco_memory_estimate;
/* The defaults, through the macro below. Threads: any. Since 0.1. */
MOCO_API void moco_memory_estimate_init_sized(moco_memory_estimate *estimate, size_t size);
#define moco_memory_estimate_init(e) moco_memory_estimate_init_sized((e), sizeof *(e))

/* What a trainer with these options would take on `device`, where nothing is taken but a moment's memory to plan it.
 * Errors: MOCO_EINVAL names the option, MOCO_ENOTSUP (precision), MOCO_ENOMEM. Threads: any. Since 0.1. */
MOCO_API moco_status moco_trainer_estimate(moco_device *device, const moco_model_options *model, int64_t queue_length,
                                           const moco_trainer_options *options, moco_memory_estimate *estimate);

#ifdef __cplusplus
}
#endif
#endif
