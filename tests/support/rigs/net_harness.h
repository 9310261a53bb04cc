/* SPDX-License-Identifier: MIT
 *
 * net_harness: one network on one device, with all that a training step needs around it, below the trainer: parameters,
 * images, keys and queue that are pure functions of a seed, so that two harnesses of equal spec on two devices must
 * agree tensor by tensor. Whatever it returns is doubles in the reference's shapes. A call that fails fails the test.
 */
#ifndef MOCO_TESTS_NET_HARNESS_H
#define MOCO_TESTS_NET_HARNESS_H

#include "backend/backend.h"
#include "net/net.h"

/* Builds a graph to be tested: from its input value to features, projection and embedding; freezing is the harness's.
 */
struct harness_outputs {
    int features, projection, embedding;
};
typedef struct harness_outputs (*harness_build)(struct graph *g, int input, const void *user);

/* Called by harness_train between the forward and the loss of a launch: the plan still holds its values then. */
struct harness;
typedef void (*harness_watch)(struct harness *h, int launch, void *user);

struct harness_spec {
    const char *device;                                   /* "ref", "cpu", ... */
    int precision;                                        /* enum be_precision, or 0: the device's own choice */
    int threads;                                          /* 0: as many as the machine gives */
    const char *tuning_file;                              /* of the context; NULL: none */
    void (*log)(void *user, int level, const char *line); /* of the context; may be NULL */
    void *log_user;
    int n, groups;      /* samples and BN groups of a launch */
    int launches;       /* of a batch; 0: 1 */
    int queue;          /* rows */
    int recompute;      /* of the train plan */
    double temperature; /* 0: 0.2 */
    double loss_scale;  /* of gradients, until harness_collect and harness_sgd take it out; 0: 1 */
    uint64_t seed;
    struct net_config config; /* the network, unless `build` is set: then only image_h, image_w, mean and std count */
    harness_build build;
    const void *user;
    harness_watch watch; /* may be NULL */
    void *watch_user;
};

struct harness {
    struct harness_spec spec;
    struct ctx *ctx;
    const struct backend *be;
    struct be_device *dev;
    struct be_info info;
    enum be_precision precision;
    struct graph *graph;
    struct be_layout *layout;
    int dim, batch; /* numbers of an embedding; samples of all launches */
    struct be_plan *train;
    struct be_program *program;                    /* of the harness's layout: no views, no indices, up to 8 ranges */
    struct be_memory masters, gradients, momentum; /* slabs */
    struct be_memory readers;                      /* bytes 0: this precision needs none */
    struct be_memory slab;                         /* of the train plan */
    struct be_memory stage, running;               /* statistics */
    struct be_memory keys, queue, out, d_out, scratch;
    uint8_t *images;                   /* [batch, h, w, 3], of the host */
    struct be_memory images_at;        /* where harness_images puts them */
    struct be_memory index_at;         /* int32 [batch] */
    double loss, top1, top5, pos, neg; /* sums over the batch of the last harness_train */
};

/* Whether the device computes in this precision. */
int harness_has(const char *device, enum be_precision precision);
/* The device that rounds where this one does: "ref", or "ref:1" (be_info.rounds_products). */
const char *harness_oracle(const char *device);

/* What a test of the contract runs on: `ref` in each precision, and the device of the tests in those it has. */
struct harness_subject {
    const char *device;
    enum be_precision precision;
};
enum { HARNESS_SUBJECTS = 10 };
int harness_subjects(struct harness_subject subjects[HARNESS_SUBJECTS]); /* their number */

/* A small network: the fields that tests vary by hand, the others as net_config of a CIFAR-sized picture. */
struct net_config harness_net(int depth, double width, enum net_stem stem, enum net_head head, int dim, int image);

/* Finds and opens the device, or fails the test. 0: it does not have this precision (nothing is held then). */
int harness_try_open(struct harness *h, const struct harness_spec *spec);
void harness_open(struct harness *h, const struct harness_spec *spec);
void harness_close(struct harness *h); /* fails the test if memory is still held */

/* Fails the test with the sentence in err unless status is MOCO_OK. */
void harness_ok(moco_status status, const struct err *err);

/* Folded weights of the masters and the running statistics. The caller frees them. */
struct be_weights *harness_folded(struct harness *h);

/* Reals of the device <-> doubles. */
void harness_read(struct harness *h, const void *at, size_t count, double *values);
void harness_write(struct harness *h, void *at, const double *values, size_t count);
struct be_memory harness_alloc(struct harness *h, size_t bytes);
struct be_memory harness_reals(struct harness *h, size_t count);

/* Copies a slab by its parameters. */
void harness_copy(struct harness *h, void *to, const void *from);

/* The weights that the train plan reads: readers or masters. Call refresh after masters changed by hand. */
const void *harness_weights(const struct harness *h);
void harness_refresh(struct harness *h);

/* Begins a step of the program: the spec's temperature and rates of 0 where `scalars` is NULL. */
void harness_begin(struct harness *h, const struct be_scalars *scalars);
struct be_outcome harness_drop(struct harness *h); /* its verdict, and no more of it */
void harness_decide(struct harness *h);
struct be_outcome harness_end(struct harness *h); /* its outcome */

/* The images as they are now, in device memory. */
const void *harness_images(struct harness *h);

/* Forward of launch `launch`, images by index (NULL: its own), out -> h->out. Stage is added to. */
void harness_forward(struct harness *h, int launch, const int32_t *index);
/* Forward, InfoNCE (mean over the batch) and backward of every launch; stage zeroed before. */
void harness_train(struct harness *h);
/* Forward and InfoNCE alone; returns the mean loss. */
double harness_loss(struct harness *h);
void harness_sgd(struct harness *h, double lr, double momentum, double weight_decay,
                 int first);            /* 1: from no momentum */
void harness_commit(struct harness *h); /* stage -> running */
void harness_settle(
    struct harness *h); /* the same so often that it is what is staged that counts: fp16 has no numbers for
                                           maps that are scaled by what statistics begin with */

/* Forward of launch 0 through a plan of its own: KEY with ema_readers(k, q, m), INFER folded from masters and running.
 * `output`: a value of the graph; out: [n][its channels]. */
/* k = m * k + (1 - m) * q, slabs; by an update that changes nothing else. */
void harness_follow(struct harness *h, void *k, void *q, double m);
void harness_key(struct harness *h, const void *k, const void *q, double m, int output, double *out);
void harness_infer(struct harness *h, int output, const float *f32_images, double *out);

/* ---- everything by name ---- */

struct harness_tensor {
    char name[112]; /* "grad.layer1.0.conv1.weight", "weight.*", "momentum.*", "stage.bn1.mean", "running.*", "out" */
    size_t count;
    double *values;
};

struct harness_tensors {
    int count;
    struct harness_tensor *tensor;
};

enum {
    HARNESS_STEP = 1, /* scalars (loss, top1, top5, pos, neg), out, d_out, stage.*, grad.* */
    HARNESS_STATE = 2 /* weight.*, momentum.*, running.* */
};

struct harness_tensors harness_collect(struct harness *h, int what);
struct harness_tensor *harness_add(struct harness_tensors *t, size_t count, const char *name); /* one more, zeros */
void harness_tensors_free(struct harness_tensors *t);
const struct harness_tensor *harness_find(const struct harness_tensors *t, const char *name);

/* |a - b| / |b| in the Euclidean norm; |a - b| where b is all zeros. NaN counts as infinite. */
double harness_error(size_t count, const double *a, const double *b);

/* Fails the test unless every tensor of `a` whose name starts with `prefix` has an error against b's of at most
 * `tolerance`; says which and by how much. Returns the largest error. */
double harness_expect(const struct harness_tensors *a, const struct harness_tensors *b, const char *prefix,
                      double tolerance);

#endif
