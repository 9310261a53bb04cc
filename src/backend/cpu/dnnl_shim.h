/* SPDX-License-Identifier: MIT
 *
 * dnnl_shim: everything that this library uses of oneDNN, in C, for its versions 2.6 and 3.x. Only dnnl_shim.cc
 * includes oneDNN's headers. What a reader would get wrong: oneDNN's C interface lets C++ exceptions through, so
 * that no other code may call it directly. And a primitive that was made for some number of threads hangs if it runs
 * with fewer, so that every call here must be between parallel_enter and parallel_leave. Nothing here allocates
 * while it runs, except the few hundred bytes that oneDNN itself takes per execution. */
#ifndef MOCO_CPU_DNNL_SHIM_H
#define MOCO_CPU_DNNL_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "err.h"

enum shim_type { SHIM_F32, SHIM_BF16 };

/* The widest instruction set that oneDNN will use (the CPU's, or what ONEDNN_MAX_CPU_ISA leaves of it). */
enum shim_isa { SHIM_ISA_OTHER, SHIM_ISA_AVX2, SHIM_ISA_AVX512, SHIM_ISA_AVX512_BF16 };

/* How a 4-d tensor of parameters [co][ci][kh][kw] or activations [n][c][h][w] lies in memory. */
enum shim_order {
    SHIM_PLAIN,   /* [co][ci][kh][kw], [n][c][h][w] */
    SHIM_NHWC,    /* [n][h][w][c] */
    SHIM_BLOCK8,  /* activations [n][c/8][h][w][8] */
    SHIM_BLOCK16, /* activations [n][c/16][h][w][16] */
    SHIM_OHWI8,   /* parameters [co/8][kh][kw][ci][8 co] */
    SHIM_OHWI16,
    SHIM_OIHW8, /* parameters [co/8][ci/8][kh][kw][8 ci][8 co] */
    SHIM_OIHW16,
    SHIM_OIHW8_TURNED, /* parameters [co/8][ci/8][kh][kw][8 co][8 ci] */
    SHIM_OIHW16_TURNED,
    SHIM_OIHW_PAIRS, /* parameters [co/16][ci/16][kh][kw][8 ci][16 co][2 ci] */
    SHIM_IOHW_PAIRS  /* parameters [ci/16][co/16][kh][kw][8 co][16 ci][2 co] */
};

/* A memory descriptor: owned by the struct that holds it, until shim_md_free. */
struct shim_md {
    void *handle; /* NULL: none */
    size_t bytes;
};

/* Where a primitive's arguments are at one run. Which is input and which output follows from the primitive. */
enum shim_slot { SHIM_SRC, SHIM_WEIGHTS, SHIM_BIAS, SHIM_DST, SHIM_SCRATCH, SHIM_SLOTS };

/* One thread at a time runs a primitive; what several could share of a run belongs to it, so that plans of one device
 * run side by side. */
struct shim_prim {
    void *primitive; /* NULL: none */
    void *stream;
    void *memory[SHIM_SLOTS];
    int argument[SHIM_SLOTS];
    size_t scratch;         /* bytes */
    struct shim_md weights; /* of a convolution: the layout of parameters that it reads or writes */
    int reference;          /* oneDNN has only its slow reference for this case */
    char name[48];          /* oneDNN's name of the implementation */
};

struct shim_conv {
    int n, ci, co, h, w, oh, ow, kernel, stride, pad;
};

enum shim_pass {
    SHIM_FORWARD,
    SHIM_INFER,       /* forward with bias and, if asked for, sum and ReLU in the same pass */
    SHIM_BACK_DATA,   /* SHIM_DST -> SHIM_SRC */
    SHIM_BACK_WEIGHTS /* SHIM_SRC, SHIM_DST -> SHIM_WEIGHTS, in f32 */
};

struct shim_conv_spec {
    enum shim_pass pass;
    enum shim_type type; /* of activations and of the parameters read */
    struct shim_conv shape;
    enum shim_order src, dst;
    const struct shim_md *weights; /* NULL: whatever is fastest */
    int sum, relu;                 /* SHIM_INFER: dst = [relu](conv + bias [+ dst]) */
};

struct shim_engine; /* one per device */

moco_status shim_open(struct shim_engine **out, struct err *err);
void shim_close(struct shim_engine *engine);
void shim_library(char *text, size_t size); /* "oneDNN 2.6.3" */
enum shim_isa shim_isa(void);
const char *shim_isa_name(void);

/* Dense 4-d memory in a given order. */
moco_status shim_md_create(struct shim_md *out, const int64_t dims[4], enum shim_type type, enum shim_order order,
                           struct err *err);
int shim_md_equal(const struct shim_md *a, const struct shim_md *b);
void shim_md_free(struct shim_md *md);
/* The sizes of a 4-d tensor with the channels that its layout pads. 0: it does not tell. */
int shim_md_padded(const struct shim_md *md, int64_t dims[4]);
/* The position of number `at` of a 4-d tensor, in numbers from its beginning; channels that a layout pads count. -1:
 * the layout is not one of strides and blocks. */
int64_t shim_md_place(const struct shim_md *md, const int64_t at[4]);

/* MOCO_ENOTSUP if oneDNN has no implementation. On failure *out is empty. */
moco_status shim_conv_create(struct shim_prim *out, struct shim_engine *engine, const struct shim_conv_spec *spec,
                             struct err *err);
/* SHIM_SRC -> SHIM_DST, converting order and type. */
moco_status shim_reorder_create(struct shim_prim *out, struct shim_engine *engine, const struct shim_md *from,
                                const struct shim_md *to, struct err *err);
/* SHIM_DST[m][n] = op(SHIM_SRC) op(SHIM_WEIGHTS) in f32, row-major; with add, += . op transposes if asked to. */
moco_status shim_matmul_create(struct shim_prim *out, struct shim_engine *engine, int m, int n, int k, int transpose_a,
                               int transpose_b, int add, struct err *err);
moco_status shim_run(const struct shim_prim *prim, void *const at[SHIM_SLOTS], struct err *err);
void shim_prim_free(struct shim_prim *prim);

/* C[m][n] = A[m][k] B[n][k]^T, or A[k][m]^T B[k][n], in f32, row-major, for sizes that change with every call. */
moco_status shim_gemm_nt(int64_t m, int64_t n, int64_t k, const float *a, const float *b, float *c, struct err *err);
moco_status shim_gemm_tn(int64_t m, int64_t n, int64_t k, const float *a, const float *b, float *c, struct err *err);

#ifdef __cplusplus
}
#endif
#endif
