/* SPDX-License-Identifier: MIT
 *
 * bn_simd: batch norm over one run of contiguous numbers, compiled once per instruction set. What a reader would get
 * wrong: sums are f32, so that the caller must add them to doubles after a bounded count of numbers. Each loop
 * copies its struct of arguments first: otherwise the compiler would have to load it again after every store through
 * a pointer. */
#include "backend/cpu/kernels/simd.h"
#include "backend/cpu/kernels/simd_table.h"

/* Calls BODY(at, n, place) for every unit of a run behind `from`, where a period begins: n numbers from `at`, the first
 * of which is channel `place` of the period. Only the last unit may be short; the compiler makes two copies of the
 * body, of which one knows that it is not. */
#define EACH_UNIT(run, from, BODY)                                                                                     \
    do {                                                                                                               \
        size_t at_ = (from), period_ = (size_t)(run)->period, place_ = 0;                                              \
        for (; at_ + UNIT <= (run)->count; at_ += UNIT) {                                                              \
            BODY(at_, (size_t)UNIT, place_);                                                                           \
            place_ += UNIT;                                                                                            \
            place_ = place_ >= period_ ? place_ - period_ : place_;                                                    \
        }                                                                                                              \
        if (at_ < (run)->count)                                                                                        \
            BODY(at_, (run)->count - at_, place_);                                                                     \
    } while (0)

enum { ROWS = 4, AHEAD = 1024 };

/* For sums, which are loaded and stored once for several periods: COLUMN(at, rows, place) takes, of `rows` periods from
 * `at`, the unit at `place`; BODY what is left. A channel's numbers come in the same order as in EACH_UNIT. */
#define EACH_COLUMN(run, COLUMN, BODY)                                                                                 \
    do {                                                                                                               \
        size_t row_ = (size_t)(run)->period, from_ = 0, rows_;                                                         \
        while (row_ % UNIT == 0 && (rows_ = ((run)->count - from_) / row_) > 0) {                                      \
            rows_ = row_ == UNIT || rows_ < ROWS ? rows_ : ROWS;                                                       \
            for (size_t column_ = 0; column_ < row_; column_ += UNIT)                                                  \
                COLUMN(from_, rows_, column_);                                                                         \
            from_ += rows_ * row_;                                                                                     \
        }                                                                                                              \
        EACH_UNIT(run, from_, BODY);                                                                                   \
    } while (0)

#define EACH_VECTOR(v, n) for (size_t v = 0; v < 4 && v * LANES < (n); v++)

/* ---- statistics ---- */

/* Lanes beyond n must not count: x - mean of a zero that is not there. */
INLINE vf first_lanes(vf v, size_t n)
{
    if (n >= LANES)
        return v;
    vf kept = {0};
    memcpy(&kept, &v, n * sizeof(float));
    return kept;
}

/* From a number to the one that is fetched meanwhile: the same place of the next rows, or further where those are so
 * near that the hardware fetches them by itself, too late. */
INLINE size_t ahead(const struct bn_run *run)
{
    size_t rows = ROWS * (size_t)run->period;
    return rows > AHEAD ? rows : AHEAD;
}

/* Columns of several periods jump about too much for the hardware to see what comes next. */
INLINE void fetch_unit(const void *map, size_t i, int bf16)
{
    size_t size = bf16 ? sizeof(uint16_t) : sizeof(float);
    for (size_t at = 0; at < UNIT * size; at += 64)
        __builtin_prefetch((const char *)map + i * size + at);
}

INLINE void stats_unit(const struct bn_run *run, size_t at, size_t n, size_t place, int bf16)
{
    EACH_VECTOR(v, n)
    {
        size_t i = v * LANES;
        vf x = first_lanes(get(run->x, at + i, n - i, bf16) - load_vf(run->mean + place + i), n - i);
        store_vf(run->sum + place + i, load_vf(run->sum + place + i) + x);
        store_vf(run->product + place + i, fma_vf(x, x, load_vf(run->product + place + i)));
    }
}

/* `rows` periods from `at`, of each the unit at `place`: sums stay in registers meanwhile. */
INLINE void stats_rows(const struct bn_run *run, size_t at, size_t rows, size_t place, int bf16)
{
    vf mean[4], sum[4], product[4];
    for (size_t v = 0; v < 4; v++) {
        mean[v] = load_vf(run->mean + place + v * LANES);
        sum[v] = load_vf(run->sum + place + v * LANES);
        product[v] = load_vf(run->product + place + v * LANES);
    }
    for (size_t row = 0; row < rows; row++, at += (size_t)run->period) {
        fetch_unit(run->x, at + place + ahead(run), bf16);
        for (size_t v = 0; v < 4; v++) {
            vf x = get(run->x, at + place + v * LANES, LANES, bf16) - mean[v];
            sum[v] += x;
            product[v] = fma_vf(x, x, product[v]);
        }
    }
    for (size_t v = 0; v < 4; v++) {
        store_vf(run->sum + place + v * LANES, sum[v]);
        store_vf(run->product + place + v * LANES, product[v]);
    }
}

INLINE void stats_typed(const struct bn_run *given, int bf16)
{
    const struct bn_run local = *given, *run = &local;
#define COLUMN(at, rows, place) stats_rows(run, at, rows, place, bf16)
#define BODY(at, n, place) stats_unit(run, at, n, place, bf16)
    EACH_COLUMN(run, COLUMN, BODY);
#undef COLUMN
#undef BODY
}

static void stats(const struct bn_run *run)
{
    if (run->bf16)
        stats_typed(run, 1);
    else
        stats_typed(run, 0);
}

/* ---- forward ---- */

/* Normalises up to UNIT numbers, adds and cuts off below 0. The mask has a bit for each number, for backward. */
INLINE void apply_unit(const struct bn_run *run, size_t at, size_t n, size_t place, int add, int bf16, int stream)
{
    vf y[4] = {{0}};
    EACH_VECTOR(v, n)
    {
        size_t i = v * LANES;
        vf x = get(run->x, at + i, n - i, bf16) - load_vf(run->mean + place + i);
        y[v] = fma_vf(x, load_vf(run->scale + place + i), load_vf(run->shift + place + i));
        if (add)
            y[v] += get(run->dy, at + i, n - i, bf16);
    }
    if (run->mask != NULL) {
        uint64_t bits = 0;
        EACH_VECTOR(v, n) bits |= (uint64_t)positive(y[v]) << (v * LANES);
        memcpy(run->mask + at / 8, &bits, n >= UNIT ? UNIT / 8 : (n + 7) / 8);
    }
    if (run->relu)
        for (size_t v = 0; v < 4; v++)
            y[v] = relu_vf(y[v]);
    put_unit(run->y, at, y, n, bf16, stream);
}

INLINE void apply_typed(const struct bn_run *given, int add, int bf16)
{
    const struct bn_run local = *given, *run = &local;
    int stream = run->stream && (uintptr_t)run->y % sizeof(vf) == 0;
#define BODY(at, n, place) apply_unit(run, at, n, place, add, bf16, stream)
    EACH_UNIT(run, 0, BODY);
    if (stream)
        streams_end();
#undef BODY
}

static void apply(const struct bn_run *run)
{
    if (run->bf16 && run->dy != NULL)
        apply_typed(run, 1, 1);
    else if (run->bf16)
        apply_typed(run, 0, 1);
    else if (run->dy != NULL)
        apply_typed(run, 1, 0);
    else
        apply_typed(run, 0, 0);
}

/* ---- backward ---- */

/* d of one unit; 0 in lanes beyond n. */
INLINE void gradient_unit(const struct bn_run *run, size_t at, size_t n, vf d[4], int add, int bf16)
{
    uint64_t bits = 0;
    if (run->mask != NULL)
        memcpy(&bits, run->mask + at / 8, n >= UNIT ? UNIT / 8 : (n + 7) / 8);
    for (size_t v = 0; v < 4; v++)
        d[v] = (vf){0};
    EACH_VECTOR(v, n)
    {
        size_t i = v * LANES;
        d[v] = get(run->dy, at + i, n - i, bf16);
        if (add)
            d[v] += get(run->dy2, at + i, n - i, bf16);
    }
    if (run->mask != NULL)
        for (size_t v = 0; v < 4; v++)
            d[v] = keep_lanes(d[v], (uint32_t)(bits >> (v * LANES) & ((UINT64_C(1) << LANES) - 1)));
}

/* sum and product are one unit each. */
INLINE void sums_unit(const struct bn_run *run, size_t at, size_t n, const vf mean[4], vf sum[4], vf product[4],
                      int add, int bf16)
{
    vf d[4];
    gradient_unit(run, at, n, d, add, bf16);
    if (run->dz != NULL)
        put_unit(run->dz, at, d, n, bf16, 0);
    EACH_VECTOR(v, n)
    {
        size_t i = v * LANES;
        vf x = get(run->x, at + i, n - i, bf16) - mean[v];
        sum[v] += d[v];
        product[v] = fma_vf(d[v], x, product[v]); /* d is 0 in lanes beyond n */
    }
}

/* `rows` periods from `at`, or n numbers, of each the unit at `place`. */
INLINE void sums_rows(const struct bn_run *run, size_t at, size_t rows, size_t n, size_t place, int add, int bf16)
{
    vf mean[4], sum[4], product[4];
    for (size_t v = 0; v < 4; v++) {
        mean[v] = load_vf(run->mean + place + v * LANES);
        sum[v] = load_vf(run->sum + place + v * LANES);
        product[v] = load_vf(run->product + place + v * LANES);
    }
    for (size_t row = 0; row < rows; row++, at += (size_t)run->period) {
        size_t next = at + ahead(run);
        fetch_unit(run->x, next, bf16);
        fetch_unit(run->dy, next, bf16);
        if (add)
            fetch_unit(run->dy2, next, bf16);
        sums_unit(run, at, n, mean, sum, product, add, bf16);
    }
    for (size_t v = 0; v < 4; v++) {
        store_vf(run->sum + place + v * LANES, sum[v]);
        store_vf(run->product + place + v * LANES, product[v]);
    }
}

INLINE void sums_typed(const struct bn_run *given, int add, int bf16)
{
    const struct bn_run local = *given, *run = &local;
#define COLUMN(at, rows, place) sums_rows(run, (at) + (place), rows, UNIT, place, add, bf16)
#define BODY(at, n, place) sums_rows(run, at, 1, n, place, add, bf16)
    EACH_COLUMN(run, COLUMN, BODY);
#undef COLUMN
#undef BODY
}

static void back_sums(const struct bn_run *run)
{
    if (run->bf16 && run->dy2 != NULL)
        sums_typed(run, 1, 1);
    else if (run->bf16)
        sums_typed(run, 0, 1);
    else if (run->dy2 != NULL)
        sums_typed(run, 1, 0);
    else
        sums_typed(run, 0, 0);
}

INLINE void write_unit(const struct bn_run *run, size_t at, size_t n, size_t place, int add, int bf16, int stream)
{
    vf d[4];
    gradient_unit(run, at, n, d, add, bf16);
    EACH_VECTOR(v, n)
    {
        size_t i = v * LANES;
        vf x = get(run->x, at + i, n - i, bf16) - load_vf(run->mean + place + i);
        vf rest = fma_vf(x, load_vf(run->slope + place + i), load_vf(run->shift + place + i));
        d[v] = fma_vf(d[v], load_vf(run->scale + place + i), rest);
    }
    put_unit(run->y, at, d, n, bf16, stream);
}

INLINE void write_typed(const struct bn_run *given, int add, int bf16)
{
    const struct bn_run local = *given, *run = &local;
    int stream = run->stream && (uintptr_t)run->y % sizeof(vf) == 0;
#define BODY(at, n, place) write_unit(run, at, n, place, add, bf16, stream)
    EACH_UNIT(run, 0, BODY);
    if (stream)
        streams_end();
#undef BODY
}

static void back_write(const struct bn_run *run)
{
    if (run->bf16 && run->dy2 != NULL)
        write_typed(run, 1, 1);
    else if (run->bf16)
        write_typed(run, 0, 1);
    else if (run->dy2 != NULL)
        write_typed(run, 1, 0);
    else
        write_typed(run, 0, 0);
}

extern const struct bn_loops SIMD_NAME(bn_loops);
const struct bn_loops SIMD_NAME(bn_loops) = {stats, apply, back_sums, back_write};
