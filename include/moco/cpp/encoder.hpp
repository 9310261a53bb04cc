/* SPDX-License-Identifier: MIT
 *
 * moco/cpp/encoder.hpp: what is done with encoders: vectors (moco/encoder.h), the nearest of them (moco/search.h), how good
 * they are (moco/eval.h, moco/probe.h). Calls that any number of threads may make at once are const. */
#ifndef MOCO_CPP_ENCODER_HPP
#define MOCO_CPP_ENCODER_HPP

#include "moco/cpp/data.hpp"
#include "moco/cpp/model.hpp"
#include "moco/encoder.h"
#include "moco/eval.h"
#include "moco/probe.h"
#include "moco/search.h"

namespace moco
{

/* ---- the encoder ---- */

using encoder_options = with_defaults<moco_encoder_options, moco_encoder_options_init_sized>;
using encoder_info = with_defaults<moco_encoder_info, moco_encoder_info_init_sized>;
using encode_options = with_defaults<moco_encode_options, moco_encode_options_init_sized>;

/* Vectors [n, dim] and a status for each picture; the row of a picture that has no vector is NaN. */
struct embedded {
    array<float> vectors;
    std::vector<moco_status> statuses;
};

class encoder : public handle<moco_encoder, moco_encoder_free>
{
  public:
    using handle::handle;

    static result<encoder> try_create(const model &model, const encoder_options &options = {}) noexcept
    {
        moco_encoder *c = nullptr;
        moco_status status = moco_encoder_create(&c, model.get(), &options);
        return detail::made<encoder>(status, c, model.kept());
    }
    static result<encoder> try_open(const device &device, text path, const encoder_options &options = {}) noexcept
    {
        moco_encoder *c = nullptr;
        moco_status status = moco_encoder_open(&c, device.get(), path.c(), &options);
        return detail::made<encoder>(status, c, device.kept());
    }
    result<encoder_info> try_describe() const noexcept
    {
        encoder_info info;
        moco_status status = moco_encoder_describe(c_, &info);
        return detail::give(status, info);
    }
    result<augment_options> try_recipe() const noexcept
    {
        augment_options recipe;
        moco_status status = moco_encoder_recipe_sized(c_, &recipe, sizeof(moco_augment_options));
        return detail::give(status, recipe);
    }
    result<void> try_embed(const input &images, moco_embedding what, output to) const noexcept
    {
        return detail::done(moco_encoder_embed(c_, images.c(), what, to.c()));
    }
    result<array<float>> try_embed(const input &images, moco_embedding what = MOCO_FEATURES) const noexcept
    {
        return detail::vectors(try_describe(), images.rows(), what,
                               [&](output to) { return try_embed(images, what, to); });
    }
    /* Only type and shape of `images` matter. */
    result<void> try_reserve(int workspaces, const input &images, moco_embedding what = MOCO_FEATURES) const noexcept
    {
        return detail::done(moco_encoder_reserve(c_, workspaces, images.c(), what));
    }
    /* Of files: a range of std::string, const char * or std::filesystem::path. `statuses` [n] gets one for each; if it
     * is empty, the first picture without a vector ends the call. */
    template <class Range>
    result<void> try_embed_files(const Range &paths, moco_embedding what, output to, const view<moco_status> &statuses,
                                 const encode_options &options = {}) const noexcept
    {
        return detail::guarded([&]() -> result<void> {
            std::vector<const char *> all = detail::texts(paths);
            int64_t n = static_cast<int64_t>(all.size());
            if (result<void> fit = detail::one_each(statuses, n, "statuses"); !fit && statuses.data() != nullptr)
                return fit;
            return detail::done(moco_encoder_embed_files(c_, all.data(), n, &options, what, to.c(), statuses.data()));
        });
    }
    template <class Range>
    result<embedded> try_embed_files(const Range &paths, moco_embedding what = MOCO_FEATURES,
                                     const encode_options &options = {}) const noexcept
    {
        return with_statuses(paths.size(), what, [&](output to, const view<moco_status> &statuses) {
            return try_embed_files(paths, what, to, statuses, options);
        });
    }
    /* Of the bytes of files: a range of std::string, std::vector<uint8_t>, std::string_view. */
    template <class Range>
    result<void> try_embed_bytes(const Range &pictures, moco_embedding what, output to,
                                 const view<moco_status> &statuses, const encode_options &options = {}) const noexcept
    {
        return detail::guarded([&]() -> result<void> {
            std::vector<const void *> bytes;
            std::vector<size_t> sizes;
            for (const encoded each : pictures) {
                bytes.push_back(each.data());
                sizes.push_back(each.size());
            }
            int64_t n = static_cast<int64_t>(bytes.size());
            if (result<void> fit = detail::one_each(statuses, n, "statuses"); !fit && statuses.data() != nullptr)
                return fit;
            return detail::done(
                moco_encoder_embed_bytes(c_, bytes.data(), sizes.data(), n, &options, what, to.c(), statuses.data()));
        });
    }
    template <class Range>
    result<embedded> try_embed_bytes(const Range &pictures, moco_embedding what = MOCO_FEATURES,
                                     const encode_options &options = {}) const noexcept
    {
        return with_statuses(pictures.size(), what, [&](output to, const view<moco_status> &statuses) {
            return try_embed_bytes(pictures, what, to, statuses, options);
        });
    }
    void cancel() const noexcept { moco_encoder_cancel(c_); }
#if MOCO_CPP_EXCEPTIONS
    static encoder create(const model &model, const encoder_options &options = {})
    {
        return try_create(model, options).value();
    }
    static encoder open(const device &device, text path, const encoder_options &options = {})
    {
        return try_open(device, path, options).value();
    }
    encoder_info describe() const
    {
        return try_describe().value();
    }
    augment_options recipe() const
    {
        return try_recipe().value();
    }
    void embed(const input &images, moco_embedding what, output to) const
    {
        try_embed(images, what, to).value();
    }
    array<float> embed(const input &images, moco_embedding what = MOCO_FEATURES) const
    {
        return try_embed(images, what).value();
    }
    void reserve(int workspaces, const input &images, moco_embedding what = MOCO_FEATURES) const
    {
        try_reserve(workspaces, images, what).value();
    }
    template <class Range>
    void embed_files(const Range &paths, moco_embedding what, output to, const view<moco_status> &statuses,
                     const encode_options &options = {}) const
    {
        try_embed_files(paths, what, to, statuses, options).value();
    }
    template <class Range>
    embedded embed_files(const Range &paths, moco_embedding what = MOCO_FEATURES,
                         const encode_options &options = {}) const
    {
        return try_embed_files(paths, what, options).value();
    }
    template <class Range>
    void embed_bytes(const Range &pictures, moco_embedding what, output to, const view<moco_status> &statuses,
                     const encode_options &options = {}) const
    {
        try_embed_bytes(pictures, what, to, statuses, options).value();
    }
    template <class Range>
    embedded embed_bytes(const Range &pictures, moco_embedding what = MOCO_FEATURES,
                         const encode_options &options = {}) const
    {
        return try_embed_bytes(pictures, what, options).value();
    }
#endif

  private:
    template <class Embed> result<embedded> with_statuses(size_t n, moco_embedding what, Embed &&embed) const noexcept
    {
        return detail::guarded([&]() -> result<embedded> {
            embedded out;
            out.statuses.resize(n, MOCO_OK);
            result<array<float>> vectors =
                detail::vectors(try_describe(), static_cast<int64_t>(n), what,
                                [&](output to) { return embed(to, view<moco_status>(out.statuses)); });
            if (!vectors)
                return vectors.error();
            out.vectors = std::move(*vectors);
            return out;
        });
    }
};

/* Calls `bad` (number, path, reason) for each picture of embed_files or embed_bytes that has no vector, in the options
 * `bad.options()`. What it throws is thrown by `rethrow`, after the call. */
template <class F> class bad_pictures
{
  public:
    explicit bad_pictures(F f, const encode_options &options = {}) noexcept
        : f_(std::move(f)), callback_(f_), options_(options)
    {
        options_.bad = detail::bad_image<F>;
        options_.user = &callback_;
    }
    bad_pictures(const bad_pictures &) = delete;
    bad_pictures &operator=(const bad_pictures &) = delete;
    const encode_options &options() const noexcept { return options_; }
    result<void> try_rethrow() noexcept { return callback_.end(MOCO_OK); }
#if MOCO_CPP_EXCEPTIONS
    void rethrow()
    {
        try_rethrow().value();
    }
#endif

  private:
    F f_;
    detail::callback<F> callback_;
    encode_options options_;
};

/* ---- the nearest ---- */

struct neighbours {
    array<int64_t> ids;   /* [n, k] */
    array<float> cosines; /* [n, k] */
};

struct bank_info {
    int64_t count = 0;
    int dim = 0;
};

class bank : public handle<moco_bank, moco_bank_free>
{
  public:
    using handle::handle;

    static result<bank> try_create(const device &device, int dim) noexcept
    {
        moco_bank *c = nullptr;
        moco_status status = moco_bank_create(&c, device.get(), dim);
        return detail::made<bank>(status, c, device.kept());
    }
    static result<bank> try_open(const device &device, text path, bool map = false) noexcept
    {
        moco_bank *c = nullptr;
        moco_status status = moco_bank_open(&c, device.get(), path.c(), map);
        return detail::made<bank>(status, c, device.kept());
    }
    /* Without `ids`: numbered from the count on. */
    result<void> try_append(const input &vectors, const view<const int64_t> &ids = {}) noexcept
    {
        if (ids.data() != nullptr)
            if (result<void> fit = detail::one_each(ids, vectors.rows(), "ids"); !fit)
                return fit;
        return detail::done(moco_bank_append(c_, vectors.c(), ids.data()));
    }
    result<void> try_append_queue(const queue &keys, const view<const int64_t> &ids) noexcept
    {
        result<queue_state> state = keys.try_state();
        if (!state)
            return state.error();
        if (result<void> fit = detail::one_each(ids, state->length, "ids"); !fit)
            return fit;
        return detail::done(moco_bank_append_queue(c_, keys.get(), ids.data()));
    }
    result<bank_info> try_describe() const noexcept
    {
        bank_info info;
        moco_status status = moco_bank_describe(c_, &info.count, &info.dim);
        return detail::give(status, info);
    }
    result<void> try_save(text path) const noexcept { return detail::done(moco_bank_save(c_, path.c())); }
    result<neighbours> try_search(const input &queries, int k) const noexcept
    {
        return detail::guarded([&]() -> result<neighbours> {
            int64_t n = queries.rows(), most = k > 0 && k <= 1048576 ? k : 0; /* any other is refused below */
            neighbours out{array<int64_t>({n, most}), array<float>({n, most})};
            moco_status status = moco_knn_search(c_, queries.c(), k, out.ids.data(), out.cosines.data());
            return detail::give(status, std::move(out));
        });
    }
#if MOCO_CPP_EXCEPTIONS
    static bank create(const device &device, int dim)
    {
        return try_create(device, dim).value();
    }
    static bank open(const device &device, text path, bool map = false)
    {
        return try_open(device, path, map).value();
    }
    void append(const input &vectors, const view<const int64_t> &ids = {})
    {
        try_append(vectors, ids).value();
    }
    void append_queue(const queue &keys, const view<const int64_t> &ids)
    {
        try_append_queue(keys, ids).value();
    }
    bank_info describe() const
    {
        return try_describe().value();
    }
    void save(text path) const
    {
        try_save(path).value();
    }
    neighbours search(const input &queries, int k) const
    {
        return try_search(queries, k).value();
    }
#endif
};

/* ---- how good features are ---- */

class knn : public handle<moco_knn, moco_knn_free>
{
  public:
    using handle::handle;

    static result<knn> try_create(const device &device, int dim, int k, double temperature) noexcept
    {
        moco_knn *c = nullptr;
        moco_status status = moco_knn_create(&c, device.get(), dim, k, temperature);
        return detail::made<knn>(status, c, device.kept());
    }
    result<void> try_add(const input &features, const view<const int32_t> &labels) noexcept
    {
        if (result<void> fit = detail::one_each(labels, features.rows(), "labels"); !fit)
            return fit;
        return detail::done(moco_knn_add(c_, features.c(), labels.data()));
    }
    result<void> try_add_queue(const queue &keys, const view<const int32_t> &labels) noexcept
    {
        result<queue_state> state = keys.try_state();
        if (!state)
            return state.error();
        if (result<void> fit = detail::one_each(labels, state->length, "labels"); !fit)
            return fit;
        return detail::done(moco_knn_add_queue(c_, keys.get(), labels.data()));
    }
    result<std::vector<int32_t>> try_classify(const input &features) noexcept
    {
        return detail::guarded([&]() -> result<std::vector<int32_t>> {
            std::vector<int32_t> labels(features.rows() > 0 ? static_cast<size_t>(features.rows()) : 0);
            moco_status status = moco_knn_classify(c_, features.c(), labels.data());
            return detail::give(status, std::move(labels));
        });
    }
    result<double> try_accuracy(const input &features, const view<const int32_t> &labels) noexcept
    {
        if (result<void> fit = detail::one_each(labels, features.rows(), "labels"); !fit)
            return fit.error();
        double accuracy = 0;
        moco_status status = moco_knn_accuracy(c_, features.c(), labels.data(), &accuracy);
        return detail::give(status, accuracy);
    }
#if MOCO_CPP_EXCEPTIONS
    static knn create(const device &device, int dim, int k, double temperature)
    {
        return try_create(device, dim, k, temperature).value();
    }
    void add(const input &features, const view<const int32_t> &labels)
    {
        try_add(features, labels).value();
    }
    void add_queue(const queue &keys, const view<const int32_t> &labels)
    {
        try_add_queue(keys, labels).value();
    }
    std::vector<int32_t> classify(const input &features)
    {
        return try_classify(features).value();
    }
    double accuracy(const input &features, const view<const int32_t> &labels)
    {
        return try_accuracy(features, labels).value();
    }
#endif
};

struct feature_stats : with_defaults<moco_feature_stats, moco_feature_stats_init_sized> {
    using with_defaults::with_defaults;
    /* `pairs`: features of another view of each image; NULL: none. `spectrum`: empty, or [dim]. */
    static result<feature_stats> try_compute(const device &device, const input &features, const input *pairs = nullptr,
                                             const view<double> &spectrum = {}) noexcept
    {
        feature_stats stats;
        if (spectrum.data() != nullptr)
            if (result<void> fit = detail::one_each(spectrum, features.columns(), "eigenvalues"); !fit)
                return fit.error();
        moco_status status = moco_feature_stats_compute(
            device.get(), features.c(), pairs != nullptr ? pairs->c() : nullptr, &stats, spectrum.data());
        return detail::give(status, stats);
    }
#if MOCO_CPP_EXCEPTIONS
    static feature_stats compute(const device &device, const input &features, const input *pairs = nullptr,
                                 const view<double> &spectrum = {})
    {
        return try_compute(device, features, pairs, spectrum).value();
    }
#endif
};

using probe_options = with_defaults<moco_probe_options, moco_probe_options_init_sized>;
using probe_fit_options = with_defaults<moco_probe_fit_options, moco_probe_fit_options_init_sized>;
using score = with_defaults<moco_score, moco_score_init_sized>;

struct probe_info {
    probe_options options;
    int64_t steps = 0;
};

/* One number for each learning rate. */
struct probe_losses {
    double loss[MOCO_PROBE_RATES] = {}, top1[MOCO_PROBE_RATES] = {};
};

class probe : public handle<moco_probe, moco_probe_free>
{
  public:
    using handle::handle;

    static result<probe> try_create(const device &device, const moco_probe_options &options) noexcept
    {
        moco_probe *c = nullptr;
        moco_status status = moco_probe_create(&c, device.get(), &options);
        return detail::made<probe>(status, c, device.kept());
    }
    /* `note` (NULL: not wanted) gets the note that was saved beside it. */
    static result<probe> try_open(const device &device, text path, std::string *note = nullptr) noexcept
    {
        return detail::guarded([&]() -> result<probe> {
            moco_probe *c = nullptr;
            result<std::string> read = detail::grown([&](char *to, size_t size) {
                return moco_probe_open(&c, device.get(), path.c(), note != nullptr ? to : nullptr,
                                       note != nullptr ? size : 0);
            });
            probe made(c, device.kept());
            if (!read)
                return read.error();
            if (note != nullptr)
                *note = std::move(*read);
            return made;
        });
    }
    result<probe_info> try_describe() const noexcept
    {
        probe_info info;
        moco_status status = moco_probe_describe(c_, &info.options, &info.steps);
        return detail::give(status, info);
    }
    result<probe_losses> try_step(const input &features, const view<const int32_t> &labels, double factor) noexcept
    {
        if (result<void> fit = detail::one_each(labels, features.rows(), "labels"); !fit)
            return fit.error();
        probe_losses losses;
        moco_status status = moco_probe_step(c_, features.c(), labels.data(), factor, losses.loss, losses.top1);
        return detail::give(status, losses);
    }
    result<void> try_fit(const input &features, const view<const int32_t> &labels,
                         const probe_fit_options &options = {}) noexcept
    {
        if (result<void> fit = detail::one_each(labels, features.rows(), "labels"); !fit)
            return fit;
        return detail::done(moco_probe_fit(c_, features.c(), labels.data(), &options));
    }
    /* `progress` (epoch, epochs) is called after each epoch; false, or an exception, stops. */
    template <class F>
    result<void> try_fit(const input &features, const view<const int32_t> &labels, const probe_fit_options &options,
                         F progress) noexcept
    {
        detail::callback<F> callback(progress);
        probe_fit_options ours = options;
        ours.progress = [](void *user, int32_t epoch, int32_t epochs) noexcept -> int {
            return static_cast<detail::callback<F> *>(user)->run(true, false, epoch, epochs) ? 0 : 1;
        };
        ours.user = &callback;
        result<void> done = try_fit(features, labels, ours);
        return done ? done : callback.end(done);
    }
    /* Adds to `sum`, and to `confusion` [classes, classes] (empty: not wanted). */
    result<void> try_evaluate(const input &features, const view<const int32_t> &labels, score &sum,
                              const view<int64_t> &confusion = {}) noexcept
    {
        if (result<void> fit = detail::one_each(labels, features.rows(), "labels"); !fit)
            return fit;
        if (confusion.data() != nullptr) {
            result<probe_info> info = try_describe();
            if (!info)
                return info.error();
            int64_t classes = info->options.classes;
            if (result<void> fit = detail::one_each(confusion, classes * classes, "counts"); !fit)
                return fit;
        }
        return detail::done(moco_probe_evaluate(c_, features.c(), labels.data(), &sum, confusion.data()));
    }
    result<score> try_best(const input &features, const view<const int32_t> &labels) noexcept
    {
        if (result<void> fit = detail::one_each(labels, features.rows(), "labels"); !fit)
            return fit.error();
        score best;
        moco_status status = moco_probe_best(c_, features.c(), labels.data(), &best);
        return detail::give(status, best);
    }
    result<std::vector<int32_t>> try_predict(int rate, const input &features) noexcept
    {
        return detail::guarded([&]() -> result<std::vector<int32_t>> {
            std::vector<int32_t> labels(features.rows() > 0 ? static_cast<size_t>(features.rows()) : 0);
            moco_status status = moco_probe_predict(c_, rate, features.c(), labels.data());
            return detail::give(status, std::move(labels));
        });
    }
    result<void> try_save(text path, const char *note = nullptr) noexcept
    {
        return detail::done(moco_probe_save(c_, path.c(), note));
    }
#if MOCO_CPP_EXCEPTIONS
    static probe create(const device &device, const moco_probe_options &options)
    {
        return try_create(device, options).value();
    }
    static probe open(const device &device, text path, std::string *note = nullptr)
    {
        return try_open(device, path, note).value();
    }
    probe_info describe() const
    {
        return try_describe().value();
    }
    probe_losses step(const input &features, const view<const int32_t> &labels, double factor)
    {
        return try_step(features, labels, factor).value();
    }
    void fit(const input &features, const view<const int32_t> &labels, const probe_fit_options &options = {})
    {
        try_fit(features, labels, options).value();
    }
    template <class F>
    void fit(const input &features, const view<const int32_t> &labels, const probe_fit_options &options, F progress)
    {
        try_fit(features, labels, options, std::move(progress)).value();
    }
    void evaluate(const input &features, const view<const int32_t> &labels, score &sum,
                  const view<int64_t> &confusion = {})
    {
        try_evaluate(features, labels, sum, confusion).value();
    }
    score best(const input &features, const view<const int32_t> &labels)
    {
        return try_best(features, labels).value();
    }
    std::vector<int32_t> predict(int rate, const input &features)
    {
        return try_predict(rate, features).value();
    }
    void save(text path, const char *note = nullptr)
    {
        try_save(path, note).value();
    }
#endif
};

} // namespace moco

#endif
