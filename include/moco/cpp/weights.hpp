/* SPDX-License-Identifier: MIT
 *
 * moco/cpp/weights.hpp: the named tensors of a file (moco/weights.h), and options of import and export. The calls that
 * import and export are those of `model` and `trainer`. */
#ifndef MOCO_CPP_WEIGHTS_HPP
#define MOCO_CPP_WEIGHTS_HPP

#include "moco/cpp/device.hpp"
#include "moco/export.h"
#include "moco/import.h"
#include "moco/weights.h"

namespace moco
{

using weights_info = with_defaults<moco_weights_info, moco_weights_info_init_sized>;
using export_options = with_defaults<moco_export_options, moco_export_options_init_sized>;
using import_options = with_defaults<moco_import_options, moco_import_options_init_sized>;
using import_report = with_defaults<moco_import_report, moco_import_report_init_sized>;
using import_found = with_defaults<moco_import_found, moco_import_found_init_sized>;

namespace detail
{

/* moco_import_line for a lambda (kind, sentence). */
template <class F> void import_line(void *user, int32_t kind, const char *sentence) noexcept
{
    static_cast<callback<F> *>(user)->run(true, true, kind, sentence);
}

} // namespace detail

class weights : public handle<moco_weights, moco_weights_free>
{
  public:
    using handle::handle;

    static result<weights> try_open(const context &context, text path) noexcept
    {
        moco_weights *c = nullptr;
        moco_status status = moco_weights_open(&c, context.get(), path.c());
        return detail::made<weights>(status, c, context.kept());
    }
    const char *format() const noexcept { return moco_weights_format(c_); }
    int64_t count() const noexcept { return moco_weights_count(c_); }
    result<weights_info> try_at(int64_t index) const noexcept
    {
        weights_info info;
        moco_status status = moco_weights_at(c_, index, &info);
        return detail::give(status, info);
    }
    result<int64_t> try_find(text name) const noexcept
    {
        int64_t index = 0;
        moco_status status = moco_weights_find(c_, name.c(), &index);
        return detail::give(status, index);
    }
    result<void> try_read(int64_t index, output to) noexcept
    {
        return detail::done(moco_weights_read(c_, index, to.c()));
    }
    /* Tensor `index` as an array of float, double, ... of its shape. */
    template <class T> result<array<T>> try_read(int64_t index) noexcept
    {
        return detail::guarded([&]() -> result<array<T>> {
            result<weights_info> info = try_at(index);
            if (!info)
                return info.error();
            array<T> numbers(shape(info->ndim, info->shape));
            if (result<void> read = try_read(index, numbers); !read)
                return read.error();
            return numbers;
        });
    }
    result<void> try_save(text path) noexcept { return detail::done(moco_weights_save(c_, path.c())); }
    result<std::string> try_text_of(text name) const noexcept
    {
        return detail::grown([&](char *to, size_t size) { return moco_weights_text(c_, name.c(), to, size); });
    }
    /* Name of text `index`, and remark `index` on the file; NULL past the end. Borrowed. */
    const char *key(int64_t index) const noexcept { return moco_weights_key(c_, index); }
    const char *note(int64_t index) const noexcept { return moco_weights_note(c_, index); }
    /* Encoder `index` of the file, for import_options.prefix. */
    result<import_found> try_candidate(int64_t index) const noexcept
    {
        import_found found;
        moco_status status = moco_import_candidate(c_, index, &found);
        return detail::give(status, found);
    }
#if MOCO_CPP_EXCEPTIONS
    static weights open(const context &context, text path)
    {
        return try_open(context, path).value();
    }
    weights_info at(int64_t index) const
    {
        return try_at(index).value();
    }
    int64_t find(text name) const
    {
        return try_find(name).value();
    }
    void read(int64_t index, output to)
    {
        try_read(index, to).value();
    }
    template <class T> array<T> read(int64_t index)
    {
        return try_read<T>(index).value();
    }
    void save(text path)
    {
        try_save(path).value();
    }
    std::string text_of(text name) const
    {
        return try_text_of(name).value();
    }
    import_found candidate(int64_t index) const
    {
        return try_candidate(index).value();
    }
#endif
};

} // namespace moco

#endif
