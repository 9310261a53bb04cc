/* SPDX-License-Identifier: MIT
 *
 * moco/cpp/model.hpp: models and their files (moco/model.h, moco/export.h, moco/import.h), and the queue. */
#ifndef MOCO_CPP_MODEL_HPP
#define MOCO_CPP_MODEL_HPP

#include "moco/cpp/weights.hpp"
#include "moco/model.h"
#include "moco/queue.h"

namespace moco
{

using model_info = with_defaults<moco_model_info, moco_model_info_init_sized>;

namespace detail
{

/* A tensor by name as an array: `get` (name, tensor) first tells its shape, then fills it. */
template <class T, class Get> result<array<T>> tensor_by_name(Get &&get) noexcept
{
    return guarded([&]() -> result<array<T>> {
        moco_tensor tensor;
        moco_tensor_init(&tensor);
        moco_status status = get(&tensor);
        if (status != MOCO_OK)
            return error::last(status);
        array<T> numbers(shape(tensor.ndim, tensor.shape));
        status = get(output(numbers).c());
        return give(status, std::move(numbers));
    });
}

/* What `embed` (output) makes of n pictures, as an array. A feature map's shape is the caller's to know. */
template <class Info, class Embed>
result<array<float>> vectors(const result<Info> &info, int64_t n, moco_embedding what, Embed &&embed) noexcept
{
    return guarded([&]() -> result<array<float>> {
        if (!info)
            return info.error();
        if (what != MOCO_FEATURES && what != MOCO_PROJECTION)
            return error(MOCO_EINVAL, "an array is made for features and projections alone; give a feature map's view");
        array<float> out({n, what == MOCO_FEATURES ? info->feature_dim : info->dim});
        if (result<void> done = embed(output(out)); !done)
            return done.error();
        return out;
    });
}

} // namespace detail

class model : public handle<moco_model, moco_model_free>
{
  public:
    using handle::handle;

    static result<model> try_create(const device &device, const moco_model_options &options) noexcept
    {
        moco_model *c = nullptr;
        moco_status status = moco_model_create(&c, device.get(), &options);
        return detail::made<model>(status, c, device.kept());
    }
    static result<model> try_open(const device &device, text path) noexcept
    {
        moco_model *c = nullptr;
        moco_status status = moco_model_open(&c, device.get(), path.c());
        return detail::made<model>(status, c, device.kept());
    }
    /* From a file of another program. `line` (kind, sentence) hears what became of each tensor; `report` is filled. */
    template <class F>
    static result<model> try_import_from(const device &device, weights &from, const import_options &options,
                                         import_report &report, F line) noexcept
    {
        moco_model *c = nullptr;
        detail::callback<F> callback(line);
        report.line = detail::import_line<F>;
        report.user = &callback;
        moco_status status = moco_model_import(&c, device.get(), from.get(), &options, &report);
        model made(c, device.kept());
        report.line = nullptr;
        if (result<void> end = callback.end(status); !end)
            return end.error();
        return made;
    }
    static result<model> try_import_from(const device &device, weights &from,
                                         const import_options &options = {}) noexcept
    {
        import_report report;
        return try_import_from(device, from, options, report, [](int32_t, const char *) {});
    }
    result<void> try_save(text path) noexcept { return detail::done(moco_model_save(c_, path.c())); }
    result<void> try_load(text path) noexcept { return detail::done(moco_model_load(c_, path.c())); }
    result<void> try_export_to(text path, const export_options &options = {}) noexcept
    {
        return detail::done(moco_model_export(c_, path.c(), &options));
    }
    result<model_info> try_describe() const noexcept
    {
        model_info info;
        moco_status status = moco_model_describe(c_, &info);
        return detail::give(status, info);
    }
    result<void> try_set_recipe(const moco_augment_options &recipe) noexcept
    {
        return detail::done(moco_model_set_recipe(c_, &recipe));
    }
    result<augment_options> try_recipe() const noexcept
    {
        augment_options recipe;
        moco_status status = moco_model_recipe_sized(c_, &recipe, sizeof(moco_augment_options));
        return detail::give(status, recipe);
    }
    /* NULL past the end. Borrowed. */
    const char *tensor_name(int index) const noexcept { return moco_model_tensor_name(c_, index); }
    result<void> try_get(text name, output to) noexcept { return detail::done(moco_model_get(c_, name.c(), to.c())); }
    template <class T> result<array<T>> try_get(text name) noexcept
    {
        return detail::tensor_by_name<T>([&](moco_tensor *to) { return moco_model_get(c_, name.c(), to); });
    }
    result<void> try_set(text name, const input &from) noexcept
    {
        return detail::done(moco_model_set(c_, name.c(), from.c()));
    }
    result<void> try_embed(const input &images, moco_embedding what, output to) noexcept
    {
        return detail::done(moco_model_embed(c_, images.c(), what, to.c()));
    }
    result<array<float>> try_embed(const input &images, moco_embedding what = MOCO_FEATURES) noexcept
    {
        return detail::vectors(try_describe(), images.rows(), what,
                               [&](output to) { return try_embed(images, what, to); });
    }
#if MOCO_CPP_EXCEPTIONS
    static model create(const device &device, const moco_model_options &options)
    {
        return try_create(device, options).value();
    }
    static model open(const device &device, text path)
    {
        return try_open(device, path).value();
    }
    template <class F>
    static model import_from(const device &device, weights &from, const import_options &options, import_report &report,
                             F line)
    {
        return try_import_from(device, from, options, report, std::move(line)).value();
    }
    static model import_from(const device &device, weights &from, const import_options &options = {})
    {
        return try_import_from(device, from, options).value();
    }
    void save(text path)
    {
        try_save(path).value();
    }
    void load(text path)
    {
        try_load(path).value();
    }
    void export_to(text path, const export_options &options = {})
    {
        try_export_to(path, options).value();
    }
    model_info describe() const
    {
        return try_describe().value();
    }
    void set_recipe(const moco_augment_options &recipe)
    {
        try_set_recipe(recipe).value();
    }
    augment_options recipe() const
    {
        return try_recipe().value();
    }
    void get(text name, output to)
    {
        try_get(name, to).value();
    }
    template <class T> array<T> get(text name)
    {
        return try_get<T>(name).value();
    }
    void set(text name, const input &from)
    {
        try_set(name, from).value();
    }
    void embed(const input &images, moco_embedding what, output to)
    {
        try_embed(images, what, to).value();
    }
    array<float> embed(const input &images, moco_embedding what = MOCO_FEATURES)
    {
        return try_embed(images, what).value();
    }
#endif
    using handle::get; /* the C handle */
};

/* ---- the queue ---- */

struct queue_state {
    int64_t length = 0, next = 0, filled = 0;
};

class queue : public handle<moco_queue, moco_queue_free>
{
  public:
    using handle::handle;

    static result<queue> try_create(const device &device, int dim, int64_t length, uint64_t seed = 0) noexcept
    {
        moco_queue *c = nullptr;
        moco_status status = moco_queue_create(&c, device.get(), dim, length, seed);
        return detail::made<queue>(status, c, device.kept());
    }
    result<void> try_push(const input &keys) noexcept { return detail::done(moco_queue_push(c_, keys.c())); }
    result<void> try_keys(output to) noexcept { return detail::done(moco_queue_get(c_, to.c())); } /* [dim, length] */
    result<queue_state> try_state() const noexcept
    {
        queue_state state;
        moco_status status = moco_queue_state(c_, &state.length, &state.next, &state.filled);
        return detail::give(status, state);
    }
#if MOCO_CPP_EXCEPTIONS
    static queue create(const device &device, int dim, int64_t length, uint64_t seed = 0)
    {
        return try_create(device, dim, length, seed).value();
    }
    void push(const input &keys)
    {
        try_push(keys).value();
    }
    void keys(output to)
    {
        try_keys(to).value();
    }
    queue_state state() const
    {
        return try_state().value();
    }
#endif
};

} // namespace moco

#endif
