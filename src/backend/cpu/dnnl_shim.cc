/* SPDX-License-Identifier: MIT
 *
 * dnnl_shim: see dnnl_shim.h. Every function that calls oneDNN does so inside guard(), which turns exceptions and
 * oneDNN's own codes into a moco_status and a sentence. The two interfaces of oneDNN differ in who owns a memory
 * descriptor (2.x: a plain struct; 3.x: a handle) and in how a primitive descriptor is made. With a heap copy of the
 * struct both look alike. */
#include "dnnl_shim.h"

#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

#include <sys/mman.h>

#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_debug.h>

#if DNNL_VERSION_MAJOR < 2 || (DNNL_VERSION_MAJOR == 2 && DNNL_VERSION_MINOR < 6)
#error "oneDNN 2.6 or later is needed"
#endif

struct shim_engine {
    dnnl_engine_t engine;
};

namespace
{

/* Of one primitive, at most: a convolution has some ten kernels, with 256 KiB reserved for each. */
constexpr size_t CODE_BYTES = size_t{16} << 20;

#if DNNL_VERSION_MAJOR >= 3
using md_handle = dnnl_memory_desc_t;
using md_view = const_dnnl_memory_desc_t;
#else
using md_handle = dnnl_memory_desc_t *;
using md_view = const dnnl_memory_desc_t *;
#endif

struct failure {
    dnnl_status_t status;
    const char *call;
};

void check(dnnl_status_t status, const char *call)
{
    if (status != dnnl_success)
        throw failure{status, call};
}
#define CHECK(call) check((call), #call)

template <typename body_type> moco_status guard(struct err *err, const char *what, body_type body)
{
    try {
        body();
        return MOCO_OK;
    } catch (const failure &f) {
        moco_status status = f.status == dnnl_out_of_memory   ? MOCO_ENOMEM
                             : f.status == dnnl_unimplemented ? MOCO_ENOTSUP
                                                              : MOCO_EDEVICE;
        int length = (int)strcspn(f.call, "(");
        return err_set(err, status, "oneDNN cannot %s: %.*s says %s", what, length, f.call, dnnl_status2str(f.status));
    } catch (const std::bad_alloc &) {
        return err_set(err, MOCO_ENOMEM, "oneDNN cannot %s: out of memory", what);
    } catch (const std::exception &e) {
        return err_set(err, MOCO_EDEVICE, "oneDNN cannot %s: %s", what, e.what());
    } catch (...) {
        return err_set(err, MOCO_EDEVICE, "oneDNN cannot %s: an exception without a name", what);
    }
}

/* ---- descriptors ---- */

void md_destroy(md_handle md) noexcept
{
#if DNNL_VERSION_MAJOR >= 3
    if (md != nullptr)
        dnnl_memory_desc_destroy(md);
#else
    delete md;
#endif
}

md_handle md_clone(md_view md)
{
#if DNNL_VERSION_MAJOR >= 3
    md_handle out = nullptr;
    CHECK(dnnl_memory_desc_clone(&out, md));
    return out;
#else
    return new dnnl_memory_desc_t(*md);
#endif
}

md_handle md_tag(int ndims, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag)
{
#if DNNL_VERSION_MAJOR >= 3
    md_handle out = nullptr;
    CHECK(dnnl_memory_desc_create_with_tag(&out, ndims, dims, type, tag));
    return out;
#else
    dnnl_memory_desc_t md;
    CHECK(dnnl_memory_desc_init_by_tag(&md, ndims, dims, type, tag));
    return new dnnl_memory_desc_t(md);
#endif
}

/* Destroys what it holds when a function is left in whatever way. */
struct md_owner {
    md_handle md = nullptr;
    md_owner() = default;
    explicit md_owner(md_handle handle) : md(handle)
    {
    }
    md_owner(const md_owner &) = delete;
    md_owner &operator=(const md_owner &) = delete;
    ~md_owner()
    {
        md_destroy(md);
    }
};

struct pd_owner {
    dnnl_primitive_desc_t pd = nullptr;
    pd_owner() = default;
    pd_owner(const pd_owner &) = delete;
    pd_owner &operator=(const pd_owner &) = delete;
    ~pd_owner()
    {
        if (pd != nullptr)
            dnnl_primitive_desc_destroy(pd);
    }
};

struct attr_owner {
    dnnl_primitive_attr_t attr = nullptr;
    attr_owner()
    {
        CHECK(dnnl_primitive_attr_create(&attr));
        CHECK(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
        CHECK(dnnl_primitive_attr_set_fpmath_mode(attr, dnnl_fpmath_mode_strict));
#if DNNL_VERSION_MAJOR > 3 || (DNNL_VERSION_MAJOR == 3 && DNNL_VERSION_MINOR >= 4)
        CHECK(dnnl_primitive_attr_set_deterministic(attr, 1));
#endif
    }
    attr_owner(const attr_owner &) = delete;
    attr_owner &operator=(const attr_owner &) = delete;
    ~attr_owner()
    {
        if (attr != nullptr)
            dnnl_primitive_attr_destroy(attr);
    }
    void post(bool sum, bool relu)
    {
        dnnl_post_ops_t ops = nullptr;
        CHECK(dnnl_post_ops_create(&ops));
        dnnl_status_t status = dnnl_success;
#if DNNL_VERSION_MAJOR >= 3
        if (sum)
            status = dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
        if (status == dnnl_success && relu)
            status = dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0.0f, 0.0f);
#else
        if (sum)
            status = dnnl_post_ops_append_sum(ops, 1.0f);
        if (status == dnnl_success && relu)
            status = dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f);
#endif
        if (status == dnnl_success)
            status = dnnl_primitive_attr_set_post_ops(attr, ops);
        dnnl_post_ops_destroy(ops);
        check(status, "dnnl_primitive_attr_set_post_ops");
    }
};

dnnl_data_type_t data_type(enum shim_type type)
{
    return type == SHIM_BF16 ? dnnl_bf16 : dnnl_f32;
}

dnnl_format_tag_t order_tag(enum shim_order order)
{
    switch (order) {
    case SHIM_NHWC:
        return dnnl_acdb;
    case SHIM_BLOCK8:
        return dnnl_aBcd8b;
    case SHIM_BLOCK16:
        return dnnl_aBcd16b;
    case SHIM_OHWI8:
        return dnnl_Acdb8a;
    case SHIM_OHWI16:
        return dnnl_Acdb16a;
    case SHIM_OIHW8:
        return dnnl_ABcd8b8a;
    case SHIM_OIHW16:
        return dnnl_ABcd16b16a;
    case SHIM_OIHW8_TURNED:
        return dnnl_ABcd8a8b;
    case SHIM_OIHW16_TURNED:
        return dnnl_ABcd16a16b;
    case SHIM_OIHW_PAIRS:
        return dnnl_OIhw8i16o2i;
    case SHIM_IOHW_PAIRS:
        return dnnl_IOhw8o16i2o;
    case SHIM_PLAIN:
        break;
    }
    return dnnl_abcd;
}

/* ---- convolutions ---- */

struct conv_mds {
    md_owner src, weights, bias, dst;
    dnnl_dims_t strides, dilates, pad_low, pad_high;

    conv_mds(const struct shim_conv_spec &spec, bool any_weights)
        : src(md_tag(4, dims(spec.shape.n, spec.shape.ci, spec.shape.h, spec.shape.w), data_type(spec.type),
                     order_tag(spec.src))),
          weights(spec.weights != nullptr && !any_weights
                      ? md_clone((md_view)spec.weights->handle)
                      : md_tag(4, dims(spec.shape.co, spec.shape.ci, spec.shape.kernel, spec.shape.kernel),
                               spec.pass == SHIM_BACK_WEIGHTS && !any_weights ? dnnl_f32 : data_type(spec.type),
                               dnnl_format_tag_any)),
          dst(md_tag(4, dims(spec.shape.n, spec.shape.co, spec.shape.oh, spec.shape.ow), data_type(spec.type),
                     order_tag(spec.dst)))
    {
        const struct shim_conv &s = spec.shape;
        if (spec.pass == SHIM_INFER)
            bias.md = md_tag(1, dims(s.co, 0, 0, 0), dnnl_f32, dnnl_a);
        strides[0] = strides[1] = s.stride;
        dilates[0] = dilates[1] = 0;
        pad_low[0] = pad_low[1] = s.pad;
        /* What is left over at the far side may be less than the padding, or negative. */
        pad_high[0] = (dnnl_dim_t)(s.oh - 1) * s.stride + s.kernel - s.h - s.pad;
        pad_high[1] = (dnnl_dim_t)(s.ow - 1) * s.stride + s.kernel - s.w - s.pad;
    }

  private:
    dnnl_dims_t dims_;
    const dnnl_dim_t *dims(int a, int b, int c, int d)
    {
        dims_[0] = a, dims_[1] = b, dims_[2] = c, dims_[3] = d;
        return dims_;
    }
};

void forward_pd(pd_owner &out, const struct shim_engine *engine, const conv_mds &m, dnnl_prop_kind_t kind,
                const_dnnl_primitive_attr_t attr)
{
#if DNNL_VERSION_MAJOR >= 3
    CHECK(dnnl_convolution_forward_primitive_desc_create(&out.pd, engine->engine, kind, dnnl_convolution_direct,
                                                         m.src.md, m.weights.md, m.bias.md, m.dst.md, m.strides,
                                                         m.dilates, m.pad_low, m.pad_high, attr));
#else
    dnnl_convolution_desc_t desc;
    CHECK(dnnl_convolution_forward_desc_init(&desc, kind, dnnl_convolution_direct, m.src.md, m.weights.md, m.bias.md,
                                             m.dst.md, m.strides, m.pad_low, m.pad_high));
    CHECK(dnnl_primitive_desc_create(&out.pd, &desc, attr, engine->engine, nullptr));
#endif
}

/* Describes a pass of backward. oneDNN 3 replaced the descriptors of 2 by arguments of one call. */
void backward_pd(pd_owner &out, const struct shim_engine *engine, const struct shim_conv_spec &spec, const conv_mds &m,
                 const pd_owner &hint, const_dnnl_primitive_attr_t attr)
{
    bool data = spec.pass == SHIM_BACK_DATA;
#if DNNL_VERSION_MAJOR >= 3
    if (data)
        CHECK(dnnl_convolution_backward_data_primitive_desc_create(&out.pd, engine->engine, dnnl_convolution_direct,
                                                                   m.src.md, m.weights.md, m.dst.md, m.strides,
                                                                   m.dilates, m.pad_low, m.pad_high, hint.pd, attr));
    else
        CHECK(dnnl_convolution_backward_weights_primitive_desc_create(
            &out.pd, engine->engine, dnnl_convolution_direct, m.src.md, m.weights.md, nullptr, m.dst.md, m.strides,
            m.dilates, m.pad_low, m.pad_high, hint.pd, attr));
#else
    dnnl_convolution_desc_t desc;
    if (data)
        CHECK(dnnl_convolution_backward_data_desc_init(&desc, dnnl_convolution_direct, m.src.md, m.weights.md, m.dst.md,
                                                       m.strides, m.pad_low, m.pad_high));
    else
        CHECK(dnnl_convolution_backward_weights_desc_init(&desc, dnnl_convolution_direct, m.src.md, m.weights.md,
                                                          nullptr, m.dst.md, m.strides, m.pad_low, m.pad_high));
    CHECK(dnnl_primitive_desc_create(&out.pd, &desc, attr, engine->engine, hint.pd));
#endif
}

/* ---- primitives ---- */

void add_memory(struct shim_prim *out, const struct shim_engine *engine, enum shim_slot slot, int argument, md_view md)
{
    dnnl_memory_t memory = nullptr;
    CHECK(dnnl_memory_create(&memory, md, engine->engine, DNNL_MEMORY_NONE));
    out->memory[slot] = memory;
    out->argument[slot] = argument;
}

md_view query(const pd_owner &pd, dnnl_query_t what)
{
    md_view md = dnnl_primitive_desc_query_md(pd.pd, what, 0);
    check(md == nullptr ? dnnl_runtime_error : dnnl_success, "dnnl_primitive_desc_query_md");
    return md;
}

/* Where oneDNN gets no memory for the code that it generates, it writes through a null pointer: so much must be there
 * before it begins. */
void check_code_memory()
{
    void *memory = mmap(nullptr, CODE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        throw std::bad_alloc();
    munmap(memory, CODE_BYTES);
}

void finish(struct shim_prim *out, const struct shim_engine *engine, const pd_owner &pd)
{
    dnnl_primitive_t primitive = nullptr;
    check_code_memory();
    CHECK(dnnl_primitive_create(&primitive, pd.pd));
    out->primitive = primitive;
    dnnl_stream_t stream = nullptr;
    CHECK(dnnl_stream_create(&stream, engine->engine, dnnl_stream_default_flags));
    out->stream = stream;
    md_view scratch = dnnl_primitive_desc_query_md(pd.pd, dnnl_query_scratchpad_md, 0);
    out->scratch = scratch == nullptr ? 0 : dnnl_memory_desc_get_size(scratch);
    if (out->scratch > 0)
        add_memory(out, engine, SHIM_SCRATCH, DNNL_ARG_SCRATCHPAD, scratch);
    const char *name = nullptr;
    if (dnnl_primitive_desc_query(pd.pd, dnnl_query_impl_info_str, 0, (void *)&name) != dnnl_success || name == nullptr)
        name = "";
    std::snprintf(out->name, sizeof out->name, "%s", name);
    out->reference = std::strncmp(name, "ref", 3) == 0;
}

/* Builds the primitive and the memory objects that it is run with. A pass of backward needs a description of forward as
 * a hint; its layouts are left open, so that it fits any. */
void conv_build(struct shim_prim *out, const struct shim_engine *engine, const struct shim_conv_spec &spec)
{
    conv_mds mds(spec, false);
    attr_owner attr;
    pd_owner pd;
    dnnl_query_t weights = dnnl_query_weights_md;
    int source = DNNL_ARG_SRC, parameters = DNNL_ARG_WEIGHTS, result = DNNL_ARG_DST;
    if (spec.pass == SHIM_FORWARD || spec.pass == SHIM_INFER) {
        bool infer = spec.pass == SHIM_INFER;
        if (infer && (spec.sum || spec.relu))
            attr.post(spec.sum, spec.relu);
        forward_pd(pd, engine, mds, infer ? dnnl_forward_inference : dnnl_forward_training, attr.attr);
    } else {
        conv_mds any(spec, true);
        pd_owner hint;
        forward_pd(hint, engine, any, dnnl_forward_training, attr.attr);
        backward_pd(pd, engine, spec, mds, hint, attr.attr);
        result = DNNL_ARG_DIFF_DST;
        if (spec.pass == SHIM_BACK_DATA) {
            source = DNNL_ARG_DIFF_SRC;
        } else {
            parameters = DNNL_ARG_DIFF_WEIGHTS;
            weights = dnnl_query_diff_weights_md;
        }
    }
    finish(out, engine, pd);
    md_view chosen = query(pd, weights);
    out->weights.handle = md_clone(chosen);
    out->weights.bytes = dnnl_memory_desc_get_size(chosen);
    add_memory(out, engine, SHIM_SRC, source, mds.src.md);
    add_memory(out, engine, SHIM_WEIGHTS, parameters, chosen);
    add_memory(out, engine, SHIM_DST, result, mds.dst.md);
    if (mds.bias.md != nullptr)
        add_memory(out, engine, SHIM_BIAS, DNNL_ARG_BIAS, mds.bias.md);
}

moco_status build(struct shim_prim *out, moco_status status)
{
    if (status != MOCO_OK)
        shim_prim_free(out);
    return status;
}

} // namespace

/* ---- interface ---- */

moco_status shim_open(struct shim_engine **out, struct err *err)
{
    *out = nullptr;
    struct shim_engine *engine = nullptr;
    moco_status status = guard(err, "start", [&] {
        engine = new struct shim_engine();
        CHECK(dnnl_engine_create(&engine->engine, dnnl_cpu, 0));
    });
    if (status != MOCO_OK)
        shim_close(engine);
    else
        *out = engine;
    return status;
}

void shim_close(struct shim_engine *engine)
{
    if (engine == nullptr)
        return;
    if (engine->engine != nullptr)
        dnnl_engine_destroy(engine->engine);
    delete engine;
}

void shim_library(char *text, size_t size)
{
    const dnnl_version_t *version = dnnl_version();
    std::snprintf(text, size, "oneDNN %d.%d.%d", version->major, version->minor, version->patch);
}

enum shim_isa shim_isa(void)
{
    /* The values are sets of bits: a wider instruction set includes those of a narrower one. */
    unsigned isa = (unsigned)dnnl_get_effective_cpu_isa();
    if ((isa & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16)
        return SHIM_ISA_AVX512_BF16;
    if ((isa & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core)
        return SHIM_ISA_AVX512;
    if ((isa & dnnl_cpu_isa_avx2) == dnnl_cpu_isa_avx2)
        return SHIM_ISA_AVX2;
    return SHIM_ISA_OTHER;
}

const char *shim_isa_name(void)
{
    static const char *const names[] = {"baseline", "avx2", "avx512", "avx512_bf16"};
    return names[shim_isa()];
}

moco_status shim_md_create(struct shim_md *out, const int64_t dims[4], enum shim_type type, enum shim_order order,
                           struct err *err)
{
    *out = shim_md();
    return guard(err, "describe a tensor", [&] {
        dnnl_dims_t d = {dims[0], dims[1], dims[2], dims[3]};
        md_handle md = md_tag(4, d, data_type(type), order_tag(order));
        out->handle = md;
        out->bytes = dnnl_memory_desc_get_size(md);
    });
}

int shim_md_equal(const struct shim_md *a, const struct shim_md *b)
{
    if (a->handle == nullptr || b->handle == nullptr)
        return a->handle == b->handle;
    return dnnl_memory_desc_equal((md_view)a->handle, (md_view)b->handle);
}

void shim_md_free(struct shim_md *md)
{
    md_destroy((md_handle)md->handle);
    *md = shim_md();
}

int shim_md_padded(const struct shim_md *md, int64_t dims[4])
{
    md_view view = (md_view)md->handle;
#if DNNL_VERSION_MAJOR >= 3
    const dnnl_dims_t *padded;
    if (dnnl_memory_desc_query(view, dnnl_query_padded_dims, &padded) != dnnl_success)
        return 0;
    for (int d = 0; d < 4; d++)
        dims[d] = (*padded)[d];
#else
    for (int d = 0; d < 4; d++)
        dims[d] = view->padded_dims[d];
#endif
    return 1;
}

int64_t shim_md_place(const struct shim_md *md, const int64_t at[4])
{
    md_view view = (md_view)md->handle;
#if DNNL_VERSION_MAJOR >= 3
    dnnl_format_kind_t kind;
    const dnnl_dims_t *stride_list, *block_list, *dim_list;
    int count;
    if (dnnl_memory_desc_query(view, dnnl_query_format_kind, &kind) != dnnl_success || kind != dnnl_blocked ||
        dnnl_memory_desc_query(view, dnnl_query_strides, &stride_list) != dnnl_success ||
        dnnl_memory_desc_query(view, dnnl_query_inner_nblks_s32, &count) != dnnl_success ||
        dnnl_memory_desc_query(view, dnnl_query_inner_blks, &block_list) != dnnl_success ||
        dnnl_memory_desc_query(view, dnnl_query_inner_idxs, &dim_list) != dnnl_success)
        return -1;
    const dnnl_dim_t *strides = *stride_list, *blocks = *block_list, *inner = *dim_list;
#else
    if (view->format_kind != dnnl_blocked || view->extra.flags != dnnl_memory_extra_flag_none)
        return -1;
    const dnnl_dim_t *strides = view->format_desc.blocking.strides, *blocks = view->format_desc.blocking.inner_blks,
                     *inner = view->format_desc.blocking.inner_idxs;
    int count = view->format_desc.blocking.inner_nblks;
#endif
    int64_t rest[4] = {at[0], at[1], at[2], at[3]}, place = 0, size = 1;
    for (int i = count - 1; i >= 0; i--) { /* the last block is the innermost */
        int64_t *along = &rest[inner[i]];
        place += *along % blocks[i] * size;
        *along /= blocks[i];
        size *= blocks[i];
    }
    for (int d = 0; d < 4; d++)
        place += rest[d] * strides[d];
    return place;
}

moco_status shim_conv_create(struct shim_prim *out, struct shim_engine *engine, const struct shim_conv_spec *spec,
                             struct err *err)
{
    static const char *const passes[] = {"forward", "inference", "backward data", "backward weights"};
    const struct shim_conv &s = spec->shape;
    char what[160];
    std::snprintf(
        what, sizeof what, "make a %s convolution (%d x %d x %d x %d to %d channels, kernel %d, stride %d, %s)",
        passes[spec->pass], s.n, s.ci, s.h, s.w, s.co, s.kernel, s.stride, spec->type == SHIM_BF16 ? "bf16" : "f32");
    *out = shim_prim();
    return build(out, guard(err, what, [&] { conv_build(out, engine, *spec); }));
}

moco_status shim_reorder_create(struct shim_prim *out, struct shim_engine *engine, const struct shim_md *from,
                                const struct shim_md *to, struct err *err)
{
    *out = shim_prim();
    return build(out, guard(err, "make a reorder", [&] {
                     attr_owner attr;
                     pd_owner pd;
                     CHECK(dnnl_reorder_primitive_desc_create(&pd.pd, (md_view)from->handle, engine->engine,
                                                              (md_view)to->handle, engine->engine, attr.attr));
                     finish(out, engine, pd);
                     add_memory(out, engine, SHIM_SRC, DNNL_ARG_FROM, (md_view)from->handle);
                     add_memory(out, engine, SHIM_DST, DNNL_ARG_TO, (md_view)to->handle);
                 }));
}

moco_status shim_matmul_create(struct shim_prim *out, struct shim_engine *engine, int m, int n, int k, int transpose_a,
                               int transpose_b, int add, struct err *err)
{
    *out = shim_prim();
    return build(
        out, guard(err, "make a matrix product", [&] {
            dnnl_dims_t a = {m, k}, b = {k, n}, c = {m, n};
            md_owner ma(md_tag(2, a, dnnl_f32, transpose_a ? dnnl_ba : dnnl_ab));
            md_owner mb(md_tag(2, b, dnnl_f32, transpose_b ? dnnl_ba : dnnl_ab));
            md_owner mc(md_tag(2, c, dnnl_f32, dnnl_ab));
            attr_owner attr;
            if (add)
                attr.post(true, false);
            pd_owner pd;
#if DNNL_VERSION_MAJOR >= 3
            CHECK(dnnl_matmul_primitive_desc_create(&pd.pd, engine->engine, ma.md, mb.md, nullptr, mc.md, attr.attr));
#else
                     dnnl_matmul_desc_t desc;
                     CHECK(dnnl_matmul_desc_init(&desc, ma.md, mb.md, nullptr, mc.md));
                     CHECK(dnnl_primitive_desc_create(&pd.pd, &desc, attr.attr, engine->engine, nullptr));
#endif
            finish(out, engine, pd);
            add_memory(out, engine, SHIM_SRC, DNNL_ARG_SRC, ma.md);
            add_memory(out, engine, SHIM_WEIGHTS, DNNL_ARG_WEIGHTS, mb.md);
            add_memory(out, engine, SHIM_DST, DNNL_ARG_DST, mc.md);
        }));
}

moco_status shim_run(const struct shim_prim *prim, void *const at[SHIM_SLOTS], struct err *err)
{
    return guard(err, "run a primitive", [&] {
        dnnl_exec_arg_t args[SHIM_SLOTS];
        int count = 0;
        for (int i = 0; i < SHIM_SLOTS; i++) {
            if (prim->memory[i] == nullptr)
                continue;
            args[count].arg = prim->argument[i];
            args[count].memory = (dnnl_memory_t)prim->memory[i];
            CHECK(dnnl_memory_set_data_handle(args[count].memory, at[i]));
            count++;
        }
        dnnl_stream_t stream = (dnnl_stream_t)prim->stream;
        CHECK(dnnl_primitive_execute((const_dnnl_primitive_t)prim->primitive, stream, count, args));
        CHECK(dnnl_stream_wait(stream));
    });
}

void shim_prim_free(struct shim_prim *prim)
{
    for (int i = 0; i < SHIM_SLOTS; i++)
        if (prim->memory[i] != nullptr)
            dnnl_memory_destroy((dnnl_memory_t)prim->memory[i]);
    if (prim->stream != nullptr)
        dnnl_stream_destroy((dnnl_stream_t)prim->stream);
    if (prim->primitive != nullptr)
        dnnl_primitive_destroy((dnnl_primitive_t)prim->primitive);
    shim_md_free(&prim->weights);
    *prim = shim_prim();
}

moco_status shim_gemm_nt(int64_t m, int64_t n, int64_t k, const float *a, const float *b, float *c, struct err *err)
{
    return guard(err, "multiply matrices", [&] { CHECK(dnnl_sgemm('N', 'T', m, n, k, 1.0f, a, k, b, k, 0.0f, c, n)); });
}

moco_status shim_gemm_tn(int64_t m, int64_t n, int64_t k, const float *a, const float *b, float *c, struct err *err)
{
    return guard(err, "multiply matrices", [&] { CHECK(dnnl_sgemm('T', 'N', m, n, k, 1.0f, a, m, b, n, 0.0f, c, n)); });
}
