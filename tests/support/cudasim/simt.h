/* SPDX-License-Identifier: MIT
 *
 * simt: what a CUDA kernel's source needs to be compiled for the host, put in front of it by the compiler's -include:
 * nvcc never sees this file. Threads of a block are fibers of one OS thread. Between two points where they wait for each
 * other they run in a drawn order, and so do blocks; shared memory starts as NaN. Under AddressSanitizer shared arrays
 * have red zones; under ThreadSanitizer the threads of a block count as concurrent but for what barriers order, and
 * blocks count as concurrent (up to the first barrier of the later one), so that a missing barrier is a data race with two
 * stacks.
 *
 * What a reader would get wrong: it shows what a kernel computes and whether its threads wait where they must. It knows
 * nothing of speed, registers, caches or the memory order between blocks of a real GPU. */
#ifndef MOCO_TESTS_SIMT_H
#define MOCO_TESTS_SIMT_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

struct simt_dim {
    unsigned x, y, z;
};

/* Of the thread that runs. */
extern struct simt_dim simt_thread, simt_block, simt_block_size, simt_grid_size;

#ifdef __cplusplus
extern "C" {
#endif

enum { SIMT_SHUFFLE = 24 }; /* bytes that a lane gives to an exchange at most */

/* Runs a grid. A fault of the kernel (threads that wait for each other in vain, too much shared memory) prints one line
 * with the place in its source and aborts. */
void simt_launch(void (*kernel)(const void *args), const void *args, struct simt_dim grid, struct simt_dim block);

void simt_seed(uint64_t seed); /* of the order in which threads and blocks run */

void simt_barrier(const char *file, unsigned line);
void simt_warp_barrier(unsigned mask, const char *file, unsigned line);
void simt_exchange(unsigned mask, unsigned from, const void *value, void *out, size_t bytes, const char *file,
                   unsigned line);
/* d += a b of a warp, 16 x 8 numbers of 8 products each, from what each lane has of the factors. */
void simt_mma(float d[4], const float a[4], const float b[2], const char *file, unsigned line);
/* The same of 16 products of bf16 (fp16 if `f16`): two numbers in a word, the first of them in its lower half. */
void simt_mma_16(float d[4], const uint32_t a[4], const uint32_t b[2], int f16, const char *file, unsigned line);
void *simt_shared(const void *key, size_t bytes, const char *file, unsigned line);
unsigned simt_lane(void);

#ifdef __cplusplus
}

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__ __restrict

#define threadIdx simt_thread
#define blockIdx simt_block
#define blockDim simt_block_size
#define gridDim simt_grid_size
#define __syncthreads() simt_barrier(__FILE__, __LINE__)
#define __syncwarp() simt_warp_barrier(0xffffffffu, __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, x) simt_shuffle(mask, value, simt_lane() ^ (unsigned)(x), __FILE__, __LINE__)
#define __shfl_sync(mask, value, lane) simt_shuffle(mask, value, (unsigned)(lane), __FILE__, __LINE__)

/* One array a block and declaration. */
#define SHARED(type, name, dims)                                                                                       \
    static const char name##_key = 0;                                                                                  \
    typedef type name##_type dims;                                                                                     \
    name##_type &name = *(name##_type *)simt_shared(&name##_key, sizeof(name##_type), __FILE__, __LINE__)

template <class T> T simt_shuffle(unsigned mask, T value, unsigned from, const char *file, unsigned line)
{
    T out;
    static_assert(sizeof(T) <= SIMT_SHUFFLE, "a shuffle carries at most 24 bytes");
    simt_exchange(mask, from, &value, &out, sizeof value, file, line);
    return out;
}

/* What tensor cores read of a float: 10 bits of mantissa, to nearest, ties away from 0. */
static inline float to_tf32(float x)
{
    uint32_t bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    if (x - x == 0)
        bits = (bits + 0x1000) & ~UINT32_C(0x1fff);
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float not_before(float x)
{
    return x;
}

static inline int not_before(int x)
{
    return x;
}

#define mma_16x8x8(d, a, b) simt_mma(d, a, b, __FILE__, __LINE__)
#define mma_16x8x16_bf16(d, a, b) simt_mma_16(d, a, b, 0, __FILE__, __LINE__)
#define mma_16x8x16_f16(d, a, b) simt_mma_16(d, a, b, 1, __FILE__, __LINE__)

static inline unsigned long long atomicMin(unsigned long long *at, unsigned long long value)
{
    unsigned long long was = __atomic_load_n(at, __ATOMIC_RELAXED);
    while (value < was && !__atomic_compare_exchange_n(at, &was, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return was;
}

static inline unsigned __float_as_uint(float x)
{
    unsigned bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline int atomicAdd(int *at, int value)
{
    return __atomic_fetch_add(at, value, __ATOMIC_RELAXED);
}

static inline int atomicOr(int *at, int bits)
{
    return __atomic_fetch_or(at, bits, __ATOMIC_RELAXED);
}
#endif

#endif
