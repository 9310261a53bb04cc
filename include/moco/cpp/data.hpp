/* SPDX-License-Identifier: MIT
 *
 * moco/cpp/data.hpp: data sets, loaders and batches (moco/data.h); one picture and one view (moco/augment.h). */
#ifndef MOCO_CPP_DATA_HPP
#define MOCO_CPP_DATA_HPP

#include "moco/augment.h"
#include "moco/cpp/device.hpp"
#include "moco/cpp/sources.hpp"
#include "moco/data.h"

namespace moco
{

/* ---- a picture and a view ---- */

class image : public handle<moco_image, moco_image_free>
{
  public:
    using handle::handle;

    static result<image> try_read(const context &context, text path, int64_t max_pixels = 0) noexcept
    {
        moco_image *c = nullptr;
        moco_status status = moco_image_read(&c, context.get(), path.c(), max_pixels);
        return detail::made<image>(status, c, context.kept());
    }
    /* From the bytes of a file: a string, a vector, a string_view. */
    static result<image> try_decode(const context &context, encoded bytes, int64_t max_pixels = 0) noexcept
    {
        moco_image *c = nullptr;
        moco_status status = moco_image_decode(&c, context.get(), bytes.data(), bytes.size(), max_pixels);
        return detail::made<image>(status, c, context.kept());
    }
    /* [h,w,3], borrowed until the image is freed. */
    result<view<const uint8_t>> try_pixels() const noexcept
    {
        moco_tensor pixels;
        moco_tensor_init(&pixels);
        moco_status status = moco_image_pixels(c_, &pixels);
        return detail::give(status, view<const uint8_t>(static_cast<const uint8_t *>(pixels.data),
                                                        {pixels.shape[0], pixels.shape[1], pixels.shape[2]}));
    }
#if MOCO_CPP_EXCEPTIONS
    static image read(const context &context, text path, int64_t max_pixels = 0)
    {
        return try_read(context, path, max_pixels).value();
    }
    static image decode(const context &context, encoded bytes, int64_t max_pixels = 0)
    {
        return try_decode(context, bytes, max_pixels).value();
    }
    view<const uint8_t> pixels() const
    {
        return try_pixels().value();
    }
#endif
};

using view_params = with_defaults<moco_view_params, moco_view_params_init_sized>;

class augment : public handle<moco_augment, moco_augment_free>
{
  public:
    using handle::handle;

    static result<augment> try_create(const context &context, const moco_augment_options &recipe) noexcept
    {
        moco_augment *c = nullptr;
        moco_status status = moco_augment_create(&c, context.get(), &recipe);
        return detail::made<augment>(status, c, context.kept());
    }
    result<view_params> try_draw(int w, int h, uint64_t seed, int64_t epoch, int64_t sample, int number) const noexcept
    {
        view_params params;
        moco_status status = moco_augment_draw(c_, w, h, seed, epoch, sample, number, &params);
        return detail::give(status, params);
    }
    /* `from` u8 [h,w,3], `to` u8 [size,size,3]. */
    result<void> try_apply(const input &from, const view_params &params, output to) const noexcept
    {
        return detail::done(moco_augment_apply(c_, from.c(), &params, to.c()));
    }
#if MOCO_CPP_EXCEPTIONS
    static augment create(const context &context, const moco_augment_options &recipe)
    {
        return try_create(context, recipe).value();
    }
    view_params draw(int w, int h, uint64_t seed, int64_t epoch, int64_t sample, int number) const
    {
        return try_draw(w, h, seed, epoch, sample, number).value();
    }
    void apply(const input &from, const view_params &params, output to) const
    {
        try_apply(from, params, to).value();
    }
#endif
};

/* ---- data sets ---- */

struct left_out {
    const char *extension; /* borrowed from the data set; NULL past the end */
    int64_t count;
};

class dataset : public handle<moco_dataset, moco_dataset_free>
{
  public:
    using handle::handle;

    static result<dataset> try_open_folder(const context &context, text path) noexcept
    {
        moco_dataset *c = nullptr;
        moco_status status = moco_dataset_open_folder(&c, context.get(), path.c());
        return detail::made<dataset>(status, c, context.kept());
    }
    /* Without the folders for which `without` (path) says true. */
    template <class F> static result<dataset> try_open_folder(const context &context, text path, F without) noexcept
    {
        moco_dataset *c = nullptr;
        detail::callback<F> callback(without);
        auto leave = [](void *user, const char *below) noexcept -> int {
            return static_cast<detail::callback<F> *>(user)->run(false, true, below);
        };
        moco_status status = moco_dataset_open_folder_without(&c, context.get(), path.c(), leave, &callback);
        dataset opened(c, context.kept());
        if (result<void> end = callback.end(status); !end)
            return end.error();
        return opened;
    }
    /* `paths`: a range of std::string, const char * or std::filesystem::path. */
    template <class Range> static result<dataset> try_open_cifar10(const context &context, const Range &paths) noexcept
    {
        return open_all(moco_dataset_open_cifar10, context, paths);
    }
    template <class Range> static result<dataset> try_open_tar(const context &context, const Range &paths) noexcept
    {
        return open_all(moco_dataset_open_tar, context, paths);
    }
    static result<dataset> try_open_list(const context &context, text path) noexcept
    {
        moco_dataset *c = nullptr;
        moco_status status = moco_dataset_open_list(&c, context.get(), path.c());
        return detail::made<dataset>(status, c, context.kept());
    }
    static result<dataset> try_open_index(const context &context, text path) noexcept
    {
        moco_dataset *c = nullptr;
        moco_status status = moco_dataset_open_index(&c, context.get(), path.c());
        return detail::made<dataset>(status, c, context.kept());
    }
    /* `images` [n,h,w,3] and `labels` [n] (empty: none) are borrowed until the data set and its loaders are freed. */
    static result<dataset> try_from_memory(const context &context, const view<const uint8_t> &images,
                                           const view<const int32_t> &labels = {}) noexcept
    {
        moco_dataset *c = nullptr;
        if (labels.data() != nullptr)
            if (result<void> fit = detail::one_each(labels, images.rows(), "labels"); !fit)
                return fit.error();
        moco_status status = moco_dataset_from_memory(&c, context.get(), input(images).c(), labels.data());
        return detail::made<dataset>(status, c, context.kept());
    }
    /* Decoded pictures: `read` (id) returns a view<const uint8_t> [h,w,3] that does not change, an array<uint8_t> or an
     * image; or std::optional or result of these (nothing: a bad picture). It is called from loader threads, several at a
     * time; error(MOCO_EFORMAT, why) says that a picture is bad, any other exception ends the epoch. `label` (id) returns
     * 0 to classes - 1, or -1. The data set and its loaders keep both alive. */
    template <class Read, class Label = detail::no_label>
    static result<dataset> try_from_images(const context &context, int64_t count, Read read, int32_t classes = 0,
                                           Label label = {}) noexcept
    {
        return from_source<detail::image_source<Read, Label>>(moco_dataset_from_callback, context, count, classes, read,
                                                              label);
    }
    /* Encoded pictures: `read` (id) returns what has the bytes of a JPEG, PNG or WebP file: a std::string, a
     * std::vector<uint8_t>, a std::string_view of memory that does not change. All else as with try_from_images. */
    template <class Read, class Label = detail::no_label>
    static result<dataset> try_from_encoded(const context &context, int64_t count, Read read, int32_t classes = 0,
                                            Label label = {}) noexcept
    {
        return from_source<detail::encoded_source<Read, Label>>(moco_dataset_from_encoded, context, count, classes,
                                                                read, label);
    }
    static result<dataset> try_match_classes(const dataset &set, const dataset &like) noexcept
    {
        moco_dataset *c = nullptr;
        moco_status status = moco_dataset_match_classes(&c, set.get(), like.get());
        return detail::made<dataset>(status, c, set.kept());
    }
    static result<dataset> try_join(const dataset &first, const dataset &second) noexcept
    {
        return detail::guarded([&]() -> result<dataset> {
            keep alive = detail::both(first.kept(), second.kept());
            moco_dataset *c = nullptr;
            moco_status status = moco_dataset_join(&c, first.get(), second.get());
            return detail::made<dataset>(status, c, std::move(alive));
        });
    }

    int64_t count() const noexcept { return moco_dataset_count(c_); }
    int32_t label(int64_t id) const noexcept { return moco_dataset_label(c_, id); }
    int32_t classes() const noexcept { return moco_dataset_classes(c_); }
    const char *class_name(int32_t label) const noexcept { return moco_dataset_class_name(c_, label); }
    moco::left_out left_out(int index) const noexcept
    {
        moco::left_out out = {nullptr, 0};
        out.extension = moco_dataset_left_out(c_, index, &out.count);
        return out;
    }
    /* NULL: no index file was opened. */
    const char *index_hash() const noexcept { return moco_dataset_index_hash(c_); }
    result<std::string> try_path(int64_t id) const noexcept
    {
        return detail::grown([&](char *to, size_t size) { return moco_dataset_path(c_, id, to, size); });
    }
    /* Reads pictures [first, first + count) whole: how many are bad. `report` (id, path, reason) hears of each. */
    template <class F>
    result<int64_t> try_verify(int64_t first, int64_t number, F report, int64_t max_pixels = 0) const noexcept
    {
        int64_t bad = 0;
        detail::callback<F> callback(report);
        moco_status status = moco_dataset_verify(c_, first, number, max_pixels, detail::bad_image<F>, &callback, &bad);
        if (result<void> end = callback.end(status); !end)
            return end.error();
        return bad;
    }
    result<int64_t> try_verify(int64_t first, int64_t number) const noexcept
    {
        return try_verify(first, number, [](int64_t, const char *, const char *) {});
    }
    result<void> try_save_index(text path) const noexcept
    {
        return detail::done(moco_dataset_save_index(c_, path.c()));
    }
#if MOCO_CPP_EXCEPTIONS
    static dataset open_folder(const context &context, text path)
    {
        return try_open_folder(context, path).value();
    }
    template <class F> static dataset open_folder(const context &context, text path, F without)
    {
        return try_open_folder(context, path, std::move(without)).value();
    }
    template <class Range> static dataset open_cifar10(const context &context, const Range &paths)
    {
        return try_open_cifar10(context, paths).value();
    }
    template <class Range> static dataset open_tar(const context &context, const Range &paths)
    {
        return try_open_tar(context, paths).value();
    }
    static dataset open_list(const context &context, text path)
    {
        return try_open_list(context, path).value();
    }
    static dataset open_index(const context &context, text path)
    {
        return try_open_index(context, path).value();
    }
    static dataset from_memory(const context &context, const view<const uint8_t> &images,
                               const view<const int32_t> &labels = {})
    {
        return try_from_memory(context, images, labels).value();
    }
    template <class Read, class Label = detail::no_label>
    static dataset from_images(const context &context, int64_t count, Read read, int32_t classes = 0, Label label = {})
    {
        return try_from_images(context, count, std::move(read), classes, std::move(label)).value();
    }
    template <class Read, class Label = detail::no_label>
    static dataset from_encoded(const context &context, int64_t count, Read read, int32_t classes = 0, Label label = {})
    {
        return try_from_encoded(context, count, std::move(read), classes, std::move(label)).value();
    }
    static dataset match_classes(const dataset &set, const dataset &like)
    {
        return try_match_classes(set, like).value();
    }
    static dataset join(const dataset &first, const dataset &second)
    {
        return try_join(first, second).value();
    }
    std::string path(int64_t id) const
    {
        return try_path(id).value();
    }
    template <class F> int64_t verify(int64_t first, int64_t number, F report, int64_t max_pixels = 0) const
    {
        return try_verify(first, number, std::move(report), max_pixels).value();
    }
    void save_index(text path) const
    {
        try_save_index(path).value();
    }
    int64_t verify(int64_t first, int64_t number) const
    {
        return try_verify(first, number).value();
    }
#endif

  private:
    template <class Open, class Range>
    static result<dataset> open_all(Open open, const context &context, const Range &paths) noexcept
    {
        return detail::guarded([&]() -> result<dataset> {
            std::vector<const char *> all = detail::texts(paths);
            moco_dataset *c = nullptr;
            moco_status status = open(&c, context.get(), all.data(), static_cast<int>(all.size()));
            return detail::made<dataset>(status, c, context.kept());
        });
    }
    template <class Source, class Make, class Read, class Label>
    static result<dataset> from_source(Make make, const context &context, int64_t count, int32_t classes, Read &read,
                                       Label &label) noexcept
    {
        return detail::guarded([&]() -> result<dataset> {
            auto source = std::make_shared<Source>(std::move(read), std::move(label));
            auto table = source->table(count, classes);
            keep alive = detail::both(source, context.kept());
            moco_dataset *c = nullptr;
            moco_status status = make(&c, context.get(), &table);
            return detail::made<dataset>(status, c, std::move(alive));
        });
    }
};

/* ---- pictures in the memory of a device ---- */

/* Of which a trainer on that device makes its views: loader_options.pictures = kept.get(). */
class pictures : public handle<moco_pictures, moco_pictures_free>
{
  public:
    using handle::handle;

    static result<pictures> try_create(const device &on, const dataset &set, int64_t max_pixels = 0) noexcept
    {
        return detail::guarded([&]() -> result<pictures> {
            keep alive = detail::both(on.kept(), set.kept());
            moco_pictures *c = nullptr;
            moco_status status = moco_pictures_create(&c, on.get(), set.get(), max_pixels);
            return detail::made<pictures>(status, c, std::move(alive));
        });
    }
    int64_t bytes() const noexcept { return moco_pictures_bytes(c_); }
    /* -1: not known before the pictures are read. */
    static result<int64_t> try_estimate(const device &on, const dataset &set) noexcept
    {
        int64_t bytes = -1;
        moco_status status = moco_pictures_estimate(on.get(), set.get(), &bytes);
        return detail::give(status, bytes);
    }
#if MOCO_CPP_EXCEPTIONS
    static int64_t estimate(const device &on, const dataset &set)
    {
        return try_estimate(on, set).value();
    }
    static pictures create(const device &on, const dataset &set, int64_t max_pixels = 0)
    {
        return try_create(on, set, max_pixels).value();
    }
#endif
};

/* ---- loaders ---- */

/* A batch of views: a loader's (borrowed until its next call), or the caller's. */
struct batch : with_defaults<moco_batch, moco_batch_init_sized> {
    using with_defaults::with_defaults;
    moco::view<const uint8_t> images(int number) const noexcept /* [n,h,w,3]; 0: queries, 1: keys */
    {
        return {view[number], {n, h, w, 3}};
    }
    moco::view<const int64_t> samples() const noexcept { return {ids, {ids != nullptr ? n : 0}}; }
};

using loader_options = with_defaults<moco_loader_options, moco_loader_options_init_sized>;
using loader_stats = with_defaults<moco_loader_stats, moco_loader_stats_init_sized>;

class loader : public handle<moco_loader, moco_loader_free>
{
  public:
    using handle::handle;

    static result<loader> try_create(const dataset &set, const loader_options &options) noexcept
    {
        moco_loader *c = nullptr;
        moco_status status = moco_loader_create(&c, set.get(), &options);
        return detail::made<loader>(status, c, set.kept());
    }
    result<void> try_start(int64_t epoch) noexcept { return detail::done(moco_loader_start(c_, epoch)); }
    result<void> try_start_at(int64_t epoch, int64_t position) noexcept
    {
        return detail::done(moco_loader_start_at(c_, epoch, position));
    }
    result<void> try_start_keys(int64_t epoch, int64_t position, int64_t step, uint64_t seed, bool symmetric) noexcept
    {
        return detail::done(moco_loader_start_keys(c_, epoch, position, step, seed, symmetric));
    }
    /* false: the epoch is over. */
    result<bool> try_next(batch &next) noexcept
    {
        moco_status status = moco_loader_next(c_, &next);
        if (status == MOCO_EEND)
            return false;
        return detail::give(status, true);
    }
    int64_t batches() const noexcept { return moco_loader_batches(c_); }
    result<loader_stats> try_stats() const noexcept
    {
        loader_stats stats;
        moco_status status = moco_loader_get_stats(c_, &stats);
        return detail::give(status, stats);
    }
    /* `report` (id, path, reason) hears of each picture that could not be read. */
    template <class F> result<void> try_bad_images(F report) noexcept
    {
        detail::callback<F> callback(report);
        moco_status status = moco_loader_bad_images(c_, detail::bad_image<F>, &callback);
        return callback.end(status);
    }
#if MOCO_CPP_EXCEPTIONS
    static loader create(const dataset &set, const loader_options &options)
    {
        return try_create(set, options).value();
    }
    void start(int64_t epoch)
    {
        try_start(epoch).value();
    }
    void start_at(int64_t epoch, int64_t position)
    {
        try_start_at(epoch, position).value();
    }
    void start_keys(int64_t epoch, int64_t position, int64_t step, uint64_t seed, bool symmetric)
    {
        try_start_keys(epoch, position, step, seed, symmetric).value();
    }
    bool next(batch &next)
    {
        return try_next(next).value();
    }
    loader_stats stats() const
    {
        return try_stats().value();
    }
    template <class F> void bad_images(F report)
    {
        try_bad_images(std::move(report)).value();
    }
#endif
};

} // namespace moco

#endif
