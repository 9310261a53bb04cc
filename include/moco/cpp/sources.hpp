/* SPDX-License-Identifier: MIT
 *
 * moco/cpp/sources.hpp: how lambdas serve as moco_image_source and moco_encoded_source. What a reader would get wrong:
 * what a lambda returns has to live until the loader is done with it. An encoded picture travels as the cookie of its
 * read; decoded ones, for which C has no cookie, wait in a table under the address of their pixels. */
#ifndef MOCO_CPP_SOURCES_HPP
#define MOCO_CPP_SOURCES_HPP

#include <map>
#include <mutex>

#include "moco/cpp/handle.hpp"
#include "moco/data.h"

namespace moco
{

/* The borrowed bytes of an encoded picture: of anything with data() and size() whose elements are bytes. */
class encoded
{
  public:
    encoded(const void *data, size_t size) noexcept : data_(data), size_(size) {}
    template <class Box, class = std::enable_if_t<sizeof(*std::declval<const Box &>().data()) == 1>>
    encoded(const Box &box) noexcept : data_(box.data()), size_(box.size())
    {
    }
    const void *data() const noexcept { return data_; }
    size_t size() const noexcept { return size_; }

  private:
    const void *data_;
    size_t size_;
};

namespace detail
{

/* What a lambda may return: a T, or a T or nothing. */
template <class T> struct unwrapped {
    using type = T;
    static bool there(const T &, moco_status &, const char *&) noexcept { return true; }
    static T &&take(T &got) noexcept { return std::move(got); }
};
template <class T> struct unwrapped<std::optional<T>> {
    using type = T;
    static bool there(const std::optional<T> &got, moco_status &status, const char *&why) noexcept
    {
        status = MOCO_EFORMAT;
        why = "the caller has no such picture";
        return got.has_value();
    }
    static T &&take(std::optional<T> &got) noexcept { return std::move(*got); }
};
template <class T> struct unwrapped<result<T>> {
    using type = T;
    static bool there(const result<T> &got, moco_status &status, const char *&why) noexcept
    {
        if (got)
            return true;
        status = got.status();
        why = got.error().what();
        return false;
    }
    static T &&take(result<T> &got) noexcept { return std::move(*got); }
};

/* Reads by `read` and hands what it returned to `take`; why there is nothing goes to `reason`. */
template <class Read, class Take>
moco_status read_by(Read &read, int64_t id, char *reason, size_t size, Take &&take) noexcept
{
    using returned = decltype(read(id));
    auto fails = [&](moco_status status, const char *why) {
        if (size > 0)
            std::strncat(reason, why, size - 1);
        return status;
    };
#if MOCO_CPP_EXCEPTIONS
    try {
#endif
        moco_status status = MOCO_OK;
        const char *why = "";
        returned got = read(id);
        if (!unwrapped<returned>::there(got, status, why))
            return fails(status, why);
        take(unwrapped<returned>::take(got));
        return MOCO_OK;
#if MOCO_CPP_EXCEPTIONS
    } catch (...) {
        error e = error::of(std::current_exception(), MOCO_EIO);
        return fails(e.status() == MOCO_OK ? MOCO_EIO : e.status(), e.what());
    }
#endif
}

/* No labels. */
struct no_label {
    int32_t operator()(int64_t) const noexcept { return -1; }
};

template <class Label> int32_t label_by(Label &label, int64_t id) noexcept
{
#if MOCO_CPP_EXCEPTIONS
    try {
        return label(id);
    } catch (...) {
        return -1;
    }
#else
    return label(id);
#endif
}

/* What both kinds of sources share. Source has `read` and `done`, which fill the members of Table of these names. */
template <class Source, class Table, void (*init)(Table *, size_t), class Read, class Label> class source
{
  public:
    source(Read read, Label label) : read_(std::move(read)), label_(std::move(label)) {}
    Table table(int64_t count, int32_t classes) noexcept
    {
        Table table;
        init(&table, sizeof table);
        table.count = count;
        table.classes = classes;
        table.read = Source::read;
        table.done = Source::done;
        table.label = std::is_same<Label, no_label>::value ? nullptr : label;
        table.user = static_cast<Source *>(this);
        return table;
    }

  protected:
    static int32_t label(void *user, int64_t id) noexcept { return label_by(static_cast<Source *>(user)->label_, id); }
    Read read_;
    Label label_;
};

template <class Read, class Label>
class encoded_source
    : public source<encoded_source<Read, Label>, moco_encoded_source, moco_encoded_source_init_sized, Read, Label>
{
    using base = source<encoded_source, moco_encoded_source, moco_encoded_source_init_sized, Read, Label>;
    friend base;

  public:
    using base::base;

  private:
    using picture = typename unwrapped<decltype(std::declval<Read &>()(int64_t()))>::type;
    static moco_status read(void *user, int64_t id, const void **bytes, size_t *size, void **cookie, char *reason,
                            size_t room) noexcept
    {
        return read_by(static_cast<encoded_source *>(user)->read_, id, reason, room, [&](picture &&got) {
            auto kept = std::make_unique<picture>(std::move(got));
            encoded view(*kept);
            *bytes = view.data();
            *size = view.size();
            *cookie = kept.release();
        });
    }
    static void done(void *, int64_t, const void *, size_t, void *cookie) noexcept
    {
        delete static_cast<picture *>(cookie);
    }
};

inline view<const uint8_t> pixels_of(const view<const uint8_t> &pixels) noexcept
{
    return pixels;
}
inline view<const uint8_t> pixels_of(const array<uint8_t> &pixels) noexcept
{
    return pixels.all();
}
/* An image: what has try_pixels. */
template <class T, class = decltype(std::declval<const T &>().try_pixels())>
view<const uint8_t> pixels_of(const T &picture) noexcept
{
    result<view<const uint8_t>> pixels = picture.try_pixels();
    return pixels ? *pixels : view<const uint8_t>();
}

template <class Read, class Label>
class image_source
    : public source<image_source<Read, Label>, moco_image_source, moco_image_source_init_sized, Read, Label>
{
    using base = source<image_source, moco_image_source, moco_image_source_init_sized, Read, Label>;
    friend base;

  public:
    using base::base;

  private:
    using picture = typename unwrapped<decltype(std::declval<Read &>()(int64_t()))>::type;
    static moco_status read(void *user, int64_t id, const uint8_t **pixels, int32_t *w, int32_t *h) noexcept
    {
        auto *self = static_cast<image_source *>(user);
        bool fits = true;
        moco_status status = read_by(self->read_, id, nullptr, 0, [&](picture &&got) {
            view<const uint8_t> all = pixels_of(got);
            const moco::shape &lengths = all.shape();
            const int64_t most = std::numeric_limits<int32_t>::max();
            fits = all.size() > 0 && lengths.ndim() == 3 && lengths[2] == 3 && lengths[0] <= most && lengths[1] <= most;
            if (!fits)
                return;
            *pixels = all.data(); /* of an array or an image they stay where they are when it moves */
            *h = static_cast<int32_t>(lengths[0]);
            *w = static_cast<int32_t>(lengths[1]);
            std::lock_guard<std::mutex> lock(self->mutex_);
            self->held_.emplace(all.data(), std::move(got));
        });
        return status == MOCO_OK && !fits ? MOCO_ESHAPE : status;
    }
    static void done(void *user, int64_t, const uint8_t *pixels) noexcept
    {
        auto *self = static_cast<image_source *>(user);
        std::lock_guard<std::mutex> lock(self->mutex_);
        auto found = self->held_.find(pixels); /* of several views of the same pixels any will do */
        if (found != self->held_.end())
            self->held_.erase(found);
    }
    std::mutex mutex_;
    std::multimap<const uint8_t *, picture> held_;
};

} // namespace detail
} // namespace moco

#endif
