/* SPDX-License-Identifier: MIT
 *
 * moco/cpp/trainer.hpp: ranks (moco/comm.h), training steps and checkpoints (moco/trainer.h). What a reader would get
 * wrong: a progress callback that returns false or throws cancels its step, which fails with MOCO_ECANCELED, or with
 * that exception, and has changed nothing. */
#ifndef MOCO_CPP_TRAINER_HPP
#define MOCO_CPP_TRAINER_HPP

#include <array>

#include "moco/comm.h"
#include "moco/cpp/data.hpp"
#include "moco/cpp/model.hpp"
#include "moco/trainer.h"

namespace moco
{

/* ---- ranks ---- */

using comm_engine = with_defaults<moco_comm_engine, moco_comm_engine_init_sized>;
using comm_options = with_defaults<moco_comm_options, moco_comm_options_init_sized>;
using comm_info = with_defaults<moco_comm_info, moco_comm_info_init_sized>;
using comm_id = std::array<unsigned char, MOCO_COMM_ID_BYTES>;

class comm : public handle<moco_comm, moco_comm_free>
{
  public:
    using handle::handle;

    static result<comm> try_from_engine(const context &context, const moco_comm_engine &engine,
                                        const comm_options &options = {}) noexcept
    {
        moco_comm *c = nullptr;
        moco_status status = moco_comm_from_engine(&c, context.get(), &engine, &options);
        return detail::made<comm>(status, c, context.kept());
    }
    /* Over a module's engine; `argument` is what that module wants. */
    static result<comm> try_from_module(const context &context, const moco_comm_module &module,
                                        const void *argument = nullptr, const comm_options &options = {}) noexcept
    {
        moco_comm *c = nullptr;
        moco_status status = moco_comm_from_module(&c, context.get(), &module, argument, &options);
        return detail::made<comm>(status, c, context.kept());
    }
    /* Over the module of this name, such as "mpi". */
    static result<comm> try_open(const context &context, const char *module, const comm_options &options = {}) noexcept
    {
        moco_comm *c = nullptr;
        moco_status status = moco_comm_open(&c, context.get(), module, &options);
        return detail::made<comm>(status, c, context.kept());
    }
    /* By an id that one rank has made (make_id): NCCL carries everything. */
    static result<comm> try_from_id(const device &on, int32_t rank, int32_t ranks, const comm_id &id,
                                    const comm_options &options = {}) noexcept
    {
        moco_comm *c = nullptr;
        moco_status status = moco_comm_from_id(&c, on.get(), rank, ranks, id.data(), id.size(), &options);
        return detail::made<comm>(status, c, on.kept());
    }
    /* The id is carried to the other ranks by the program. */
    static result<comm_id> try_make_id(const device &on) noexcept
    {
        comm_id id;
        moco_status status = moco_comm_make_id(on.get(), id.data(), id.size());
        return detail::give(status, id);
    }
    /* One for each of `ranks` threads of this process. */
    static result<std::vector<comm>> try_local(const context &context, int32_t ranks,
                                               const comm_options &options = {}) noexcept
    {
        return detail::guarded([&]() -> result<std::vector<comm>> {
            std::vector<moco_comm *> c(ranks > 0 ? static_cast<size_t>(ranks) : 0);
            std::vector<comm> made(c.size());
            moco_status status = moco_comm_local(c.data(), ranks, context.get(), &options);
            if (status != MOCO_OK)
                return error::last(status);
            for (size_t i = 0; i < c.size(); i++)
                made[i] = comm(c[i], context.kept());
            return made;
        });
    }
    result<comm_info> try_describe() const noexcept
    {
        comm_info info;
        moco_status status = moco_comm_describe(c_, &info);
        return detail::give(status, info);
    }
    result<void> try_gather(void *blocks, size_t bytes_each) noexcept
    {
        return detail::done(moco_comm_gather(c_, blocks, bytes_each));
    }
    /* Returns only if it could not. */
    result<void> try_abort(int32_t code, double seconds) noexcept
    {
        return detail::done(moco_comm_abort(c_, code, seconds));
    }
    void cancel() noexcept { moco_comm_cancel(c_); }
#if MOCO_CPP_EXCEPTIONS
    static comm from_engine(const context &context, const moco_comm_engine &engine, const comm_options &options = {})
    {
        return try_from_engine(context, engine, options).value();
    }
    static comm from_module(const context &context, const moco_comm_module &module, const void *argument = nullptr,
                            const comm_options &options = {})
    {
        return try_from_module(context, module, argument, options).value();
    }
    static comm open(const context &context, const char *module, const comm_options &options = {})
    {
        return try_open(context, module, options).value();
    }
    static comm from_id(const device &on, int32_t rank, int32_t ranks, const comm_id &id,
                        const comm_options &options = {})
    {
        return try_from_id(on, rank, ranks, id, options).value();
    }
    static comm_id make_id(const device &on)
    {
        return try_make_id(on).value();
    }
    static std::vector<comm> local(const context &context, int32_t ranks, const comm_options &options = {})
    {
        return try_local(context, ranks, options).value();
    }
    comm_info describe() const
    {
        return try_describe().value();
    }
    void gather(void *blocks, size_t bytes_each)
    {
        try_gather(blocks, bytes_each).value();
    }
    void abort(int32_t code, double seconds)
    {
        try_abort(code, seconds).value();
    }
#endif
};

/* ---- the trainer ---- */

using step_report = with_defaults<moco_step_report, moco_step_report_init_sized>;
using memory_estimate = with_defaults<moco_memory_estimate, moco_memory_estimate_init_sized>;

struct cursor {
    int64_t step = 0, epoch = 0, position = 0;
};

namespace detail
{

/* What a progress callback did, which its trainer asks after a step. */
struct stepper {
    moco_trainer *trainer = nullptr;
    std::exception_ptr thrown;
};

template <class F> struct progress : stepper {
    explicit progress(F f) : call(std::move(f)) {}
    static void after_launch(void *user, int done, int launches) noexcept
    {
        auto *self = static_cast<progress *>(user);
        if (self->thrown)
            return;
        callback<F> once(self->call);
        bool on = once.run(true, false, done, launches);
        self->thrown = once.thrown();
        if (!on)
            moco_trainer_cancel(self->trainer);
    }
    F call;
};

} // namespace detail

class trainer : public handle<moco_trainer, moco_trainer_free>
{
  public:
    using handle::handle;

    /* An empty queue: none (negatives come from the batch). */
    static result<trainer> try_create(const model &model, const queue &queue,
                                      const moco_trainer_options &options) noexcept
    {
        return detail::guarded([&]() -> result<trainer> {
            keep alive = detail::both(model.kept(), queue.kept());
            moco_trainer *c = nullptr;
            moco_status status = moco_trainer_create(&c, model.get(), queue.get(), &options);
            return detail::made<trainer>(status, c, std::move(alive));
        });
    }
    /* `progress` (launches done, launches) is called after each launch of a step; false, or an exception, cancels it. */
    template <class F>
    static result<trainer> try_create(const model &model, const queue &queue, const moco_trainer_options &options,
                                      F progress) noexcept
    {
        return detail::guarded([&]() -> result<trainer> {
            using state = detail::progress<F>;
            auto stepper = std::make_shared<state>(std::move(progress));
            keep alive = detail::both(stepper, detail::both(model.kept(), queue.kept()));
            moco_trainer_options ours = options;
            ours.progress = state::after_launch;
            ours.progress_user = stepper.get();
            moco_trainer *c = nullptr;
            moco_status status = moco_trainer_create(&c, model.get(), queue.get(), &ours);
            if (status != MOCO_OK)
                return error::last(status);
            trainer made(c, std::move(alive));
            stepper->trainer = c;
            made.stepper_ = std::move(stepper);
            return made;
        });
    }
    result<void> try_step(const moco_batch &batch, double lr) noexcept
    {
        moco_status status = moco_trainer_step(c_, &batch, lr);
#if MOCO_CPP_EXCEPTIONS
        if (status == MOCO_ECANCELED && stepper_ && stepper_->thrown)
            return error::of(std::exchange(stepper_->thrown, nullptr), status);
#endif
        return detail::done(status);
    }
    result<void> try_wait() noexcept
    {
        return detail::done(moco_trainer_wait(c_));
    }
    /* What the step of all ranks ends with: never a success. */
    error leave(moco_status why, const char *sentence = nullptr) noexcept
    {
        return error::last(moco_trainer_leave(c_, why, sentence));
    }
    result<step_report> try_report() noexcept
    {
        step_report report;
        moco_status status = moco_trainer_report(c_, &report);
        return detail::give(status, report);
    }
    void cancel() noexcept
    {
        moco_trainer_cancel(c_);
    } /* in any thread, and in a signal handler */
    result<void> try_get(text name, output to) noexcept
    {
        return detail::done(moco_trainer_get(c_, name.c(), to.c()));
    }
    template <class T> result<array<T>> try_get(text name) noexcept
    {
        return detail::tensor_by_name<T>([&](moco_tensor *to) { return moco_trainer_get(c_, name.c(), to); });
    }
    result<void> try_set(text name, const input &from) noexcept
    {
        return detail::done(moco_trainer_set(c_, name.c(), from.c()));
    }
    const char *tensor_name(int index) const noexcept
    {
        return moco_trainer_tensor_name(c_, index);
    }
    result<moco::cursor> try_cursor() const noexcept
    {
        moco::cursor at;
        moco_status status = moco_trainer_cursor(c_, &at.step, &at.epoch, &at.position);
        return detail::give(status, at);
    }
    result<void> try_save(text path, const char *note = nullptr) noexcept
    {
        return detail::done(moco_trainer_save(c_, path.c(), note));
    }
    result<void> try_load(text path) noexcept
    {
        return detail::done(moco_trainer_load(c_, path.c()));
    }
    result<void> try_export_to(text path, const export_options &options = {}) noexcept
    {
        return detail::done(moco_trainer_export(c_, path.c(), &options));
    }
    template <class F> result<void> try_import_from(weights &from, import_report &report, F line) noexcept
    {
        detail::callback<F> callback(line);
        report.line = detail::import_line<F>;
        report.user = &callback;
        moco_status status = moco_trainer_import(c_, from.get(), &report);
        report.line = nullptr;
        return callback.end(status);
    }
    result<void> try_import_from(weights &from) noexcept
    {
        import_report report;
        return try_import_from(from, report, [](int32_t, const char *) {});
    }
    static result<memory_estimate> try_estimate(const device &device, const moco_model_options &model,
                                                int64_t queue_length, const moco_trainer_options &options) noexcept
    {
        memory_estimate estimate;
        moco_status status = moco_trainer_estimate(device.get(), &model, queue_length, &options, &estimate);
        return detail::give(status, estimate);
    }
#if MOCO_CPP_EXCEPTIONS
    static trainer create(const model &model, const queue &queue, const moco_trainer_options &options)
    {
        return try_create(model, queue, options).value();
    }
    template <class F>
    static trainer create(const model &model, const queue &queue, const moco_trainer_options &options, F progress)
    {
        return try_create(model, queue, options, std::move(progress)).value();
    }
    void step(const moco_batch &batch, double lr)
    {
        try_step(batch, lr).value();
    }
    void wait()
    {
        try_wait().value();
    }
    step_report report()
    {
        return try_report().value();
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
    moco::cursor cursor() const
    {
        return try_cursor().value();
    }
    void save(text path, const char *note = nullptr)
    {
        try_save(path, note).value();
    }
    void load(text path)
    {
        try_load(path).value();
    }
    void export_to(text path, const export_options &options = {})
    {
        try_export_to(path, options).value();
    }
    template <class F> void import_from(weights &from, import_report &report, F line)
    {
        try_import_from(from, report, std::move(line)).value();
    }
    void import_from(weights &from)
    {
        try_import_from(from).value();
    }
    static memory_estimate estimate(const device &device, const moco_model_options &model, int64_t queue_length,
                                    const moco_trainer_options &options)
    {
        return try_estimate(device, model, queue_length, options).value();
    }
#endif
    using handle::get; /* the C handle */

  private:
    std::shared_ptr<detail::stepper> stepper_;
};

/* ---- checkpoints ---- */

/* What a training state was made with, so that its model, queue and trainer can be made. */
struct checkpoint {
    model_options model;
    trainer_options trainer;
    int64_t queue_length = 0;
    std::string note;

    static result<checkpoint> try_describe(const context &context, text path) noexcept
    {
        return detail::guarded([&]() -> result<checkpoint> {
            checkpoint out;
            result<std::string> read = detail::grown([&](char *to, size_t size) {
                return moco_checkpoint_describe(context.get(), path.c(), &out.model, &out.trainer, &out.queue_length,
                                                to, size);
            });
            if (!read)
                return read.error();
            out.note = std::move(*read);
            return out;
        });
    }
#if MOCO_CPP_EXCEPTIONS
    static checkpoint describe(const context &context, text path)
    {
        return try_describe(context, path).value();
    }
#endif
};

} // namespace moco

#endif
