/* SPDX-License-Identifier: MIT
 *
 * moco/cpp/device.hpp: context and device (moco/base.h), presets and schedules (moco/preset.h), and the pure functions of
 * moco/random.h. */
#ifndef MOCO_CPP_DEVICE_HPP
#define MOCO_CPP_DEVICE_HPP

#include "moco/cpp/handle.hpp"
#include "moco/preset.h"
#include "moco/random.h"

namespace moco
{

inline int version() noexcept
{
    return moco_version();
}
inline const char *status_text(moco_status status) noexcept
{
    return moco_status_text(status);
}
inline size_t dtype_size(moco_dtype dtype) noexcept
{
    return moco_dtype_size(dtype);
}

/* ---- context ---- */

using context_options = with_defaults<moco_context_options, moco_context_options_init_sized>;

struct context_memory {
    int64_t live_bytes = 0, peak_bytes = 0, allocations = 0;
};

namespace detail
{

/* The caller's options, whose `user` the lambda's state takes the place of. */
template <class Log> struct logger {
    Log log;
    moco_context_options theirs;
    static void *alloc(void *user, size_t size, size_t align) noexcept
    {
        const moco_context_options &theirs = static_cast<logger *>(user)->theirs;
        return theirs.alloc(theirs.user, size, align);
    }
    static void release(void *user, void *memory, size_t size) noexcept
    {
        const moco_context_options &theirs = static_cast<logger *>(user)->theirs;
        theirs.release(theirs.user, memory, size);
    }
    static void line(void *user, int level, const char *line) noexcept
    {
        callback<Log>(static_cast<logger *>(user)->log).run(true, true, level, line);
    }
};

} // namespace detail

class context : public handle<moco_context, moco_context_free>
{
  public:
    using handle::handle;

    static result<context> try_create(const context_options &options = {}) noexcept
    {
        moco_context *c = nullptr;
        moco_status status = moco_context_create(&c, &options);
        return detail::made<context>(status, c);
    }
    /* `log` (level, line) takes the lines of the log, from any thread, several at a time. What it throws is lost. */
    template <class Log> static result<context> try_create(const context_options &options, Log log) noexcept
    {
        return detail::guarded([&]() -> result<context> {
            using logger = detail::logger<Log>;
            auto state = std::make_shared<logger>(logger{std::move(log), options});
            context_options ours = options;
            ours.alloc = options.alloc != nullptr ? logger::alloc : nullptr;
            ours.release = options.release != nullptr ? logger::release : nullptr;
            ours.log = logger::line;
            ours.user = state.get();
            moco_context *c = nullptr;
            moco_status status = moco_context_create(&c, &ours);
            return detail::made<context>(status, c, state);
        });
    }
    result<context_memory> try_memory() const noexcept
    {
        context_memory memory;
        moco_status status = moco_context_memory(c_, &memory.live_bytes, &memory.peak_bytes, &memory.allocations);
        return detail::give(status, memory);
    }
#if MOCO_CPP_EXCEPTIONS
    static context create(const context_options &options = {})
    {
        return try_create(options).value();
    }
    template <class Log> static context create(const context_options &options, Log log)
    {
        return try_create(options, std::move(log)).value();
    }
    context_memory memory() const
    {
        return try_memory().value();
    }
#endif
};

/* ---- device ---- */

using device_info = with_defaults<moco_device_info, moco_device_info_init_sized>;

struct device_memory {
    int64_t live_bytes = 0, available_bytes = 0;
};

class device : public handle<moco_device, moco_device_free>
{
  public:
    using handle::handle;

    static result<device> try_open(const context &context, text name) noexcept
    {
        moco_device *c = nullptr;
        moco_status status = moco_device_open(&c, context.get(), name.c());
        return detail::made<device>(status, c, context.kept());
    }
    result<device_info> try_describe() const noexcept
    {
        device_info info;
        moco_status status = moco_device_describe(c_, &info);
        return detail::give(status, info);
    }
    result<device_memory> try_memory() const noexcept
    {
        device_memory memory;
        moco_status status = moco_device_memory(c_, &memory.live_bytes, &memory.available_bytes);
        return detail::give(status, memory);
    }
#if MOCO_CPP_EXCEPTIONS
    static device open(const context &context, text name)
    {
        return try_open(context, name).value();
    }
    device_info describe() const
    {
        return try_describe().value();
    }
    device_memory memory() const
    {
        return try_memory().value();
    }
#endif
};

/* ---- presets and schedules ---- */

struct augment_options : moco_augment_options {
    augment_options() noexcept : moco_augment_options{} { struct_size = sizeof(moco_augment_options); }
    /* A recipe by name: "moco-v2", "eval", ... */
    static result<augment_options> try_preset(text name, int image_size) noexcept
    {
        augment_options options;
        moco_status status =
            moco_augment_options_preset_sized(&options, sizeof(moco_augment_options), name.c(), image_size);
        return detail::give(status, options);
    }
#if MOCO_CPP_EXCEPTIONS
    static augment_options preset(text name, int image_size)
    {
        return try_preset(name, image_size).value();
    }
#endif
};

struct model_options : with_defaults<moco_model_options, moco_model_options_init_sized> {
    using with_defaults::with_defaults;
    static result<model_options> try_preset(text name) noexcept
    {
        model_options options;
        moco_status status = moco_model_options_preset_sized(&options, sizeof(moco_model_options), name.c());
        return detail::give(status, options);
    }
#if MOCO_CPP_EXCEPTIONS
    static model_options preset(text name)
    {
        return try_preset(name).value();
    }
#endif
};

struct trainer_options : with_defaults<moco_trainer_options, moco_trainer_options_init_sized> {
    using with_defaults::with_defaults;
    static result<trainer_options> try_preset(text name) noexcept
    {
        trainer_options options;
        moco_status status = moco_trainer_options_preset_sized(&options, sizeof(moco_trainer_options), name.c());
        return detail::give(status, options);
    }
#if MOCO_CPP_EXCEPTIONS
    static trainer_options preset(text name)
    {
        return try_preset(name).value();
    }
#endif
};

struct preset : moco_preset {
    preset() noexcept : moco_preset{} {}
    static result<preset> try_find(text name) noexcept
    {
        moco::preset found;
        moco_status status = moco_preset_get_sized(&found, sizeof(moco_preset), name.c());
        return detail::give(status, found);
    }
    /* The name of preset `index`; NULL past the end. */
    static const char *name_of(int index) noexcept { return moco_preset_name(index); }
    /* The rate of step `step` of a run of `run_epochs` epochs. */
    double rate(int64_t step, int64_t steps_per_epoch, int64_t run_epochs) const noexcept
    {
        return moco_preset_lr(this, step, steps_per_epoch, run_epochs);
    }
#if MOCO_CPP_EXCEPTIONS
    static preset find(text name)
    {
        return try_find(name).value();
    }
#endif
};

inline double lr_cosine(double lr, double t, double total) noexcept
{
    return moco_lr_cosine(lr, t, total);
}
inline double lr_warmup_cosine(double lr, double t, double warmup, double total) noexcept
{
    return moco_lr_warmup_cosine(lr, t, warmup, total);
}
inline double lr_steps(double lr, int64_t epoch, const view<const int32_t> &milestones, double factor) noexcept
{
    return moco_lr_steps(lr, epoch, milestones.data(), static_cast<int>(milestones.size()), factor);
}

/* ---- orders ---- */

inline result<std::vector<int32_t>> try_shuffle_permutation(uint64_t seed, int64_t step, int direction, int n) noexcept
{
    return detail::guarded([&]() -> result<std::vector<int32_t>> {
        std::vector<int32_t> order(n > 0 ? static_cast<size_t>(n) : 0);
        moco_status status = moco_shuffle_permutation(seed, step, direction, n, order.data());
        return detail::give(status, std::move(order));
    });
}
inline result<int64_t> try_epoch_permutation(uint64_t seed, int64_t epoch, int64_t n, int64_t position) noexcept
{
    int64_t sample = 0;
    moco_status status = moco_epoch_permutation(seed, epoch, n, position, &sample);
    return detail::give(status, sample);
}
#if MOCO_CPP_EXCEPTIONS
inline std::vector<int32_t> shuffle_permutation(uint64_t seed, int64_t step, int direction, int n)
{
    return try_shuffle_permutation(seed, step, direction, n).value();
}
inline int64_t epoch_permutation(uint64_t seed, int64_t epoch, int64_t n, int64_t position)
{
    return try_epoch_permutation(seed, epoch, n, position).value();
}
#endif

} // namespace moco

#endif
