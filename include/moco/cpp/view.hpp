/* SPDX-License-Identifier: MIT
 *
 * moco/cpp/view.hpp: tensors. A `view` is a pointer and a shape, and borrows; an `array` owns its numbers; `input` and
 * `output` are what calls take, and are made from either. What a reader would get wrong: nothing is checked where an
 * element is read. But a view of a container that does not have the elements of its shape is remembered as such, and
 * every call refuses it (MOCO_ESHAPE) rather than reading beyond the container. */
#ifndef MOCO_CPP_VIEW_HPP
#define MOCO_CPP_VIEW_HPP

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "moco/cpp/error.hpp"

namespace moco
{

/* Up to 8 lengths. */
class shape
{
  public:
    shape() noexcept = default; /* of no element */
    shape(std::initializer_list<int64_t> lengths) noexcept
    {
        if (lengths.size() > 8)
            return;
        for (int64_t length : lengths)
            at_[ndim_++] = length;
        count_ = multiply();
    }
    int ndim() const noexcept { return ndim_; }
    int64_t operator[](int i) const noexcept { return at_[i]; }
    shape(int ndim, const int64_t *lengths) noexcept
    {
        if (ndim < 0 || ndim > 8)
            return;
        for (int i = 0; i < ndim; i++)
            at_[ndim_++] = lengths[i];
        count_ = multiply();
    }
    /* Elements; -1: a negative length, too many lengths, or more elements than there can be. */
    int64_t count() const noexcept { return count_; }
    /* That of one row: without its first length. */
    shape rest() const noexcept
    {
        shape out;
        for (int i = 1; i < ndim_; i++)
            out.at_[out.ndim_++] = at_[i];
        out.count_ = out.multiply();
        return out;
    }

  private:
    int64_t multiply() const noexcept
    {
        int64_t count = 1;
        for (int i = 0; i < ndim_; i++) {
            if (at_[i] < 0 || (at_[i] > 0 && count > std::numeric_limits<int64_t>::max() / 16 / at_[i]))
                return -1;
            count *= at_[i];
        }
        return count;
    }
    int ndim_ = 0;
    int64_t at_[8] = {};
    int64_t count_ = -1;
};

struct bf16 {
    uint16_t bits;
};

namespace detail
{

template <class T> struct dtype_of;
template <> struct dtype_of<uint8_t> : std::integral_constant<int32_t, MOCO_U8> {
};
template <> struct dtype_of<int64_t> : std::integral_constant<int32_t, MOCO_I64> {
};
template <> struct dtype_of<bf16> : std::integral_constant<int32_t, MOCO_BF16> {
};
template <> struct dtype_of<float> : std::integral_constant<int32_t, MOCO_F32> {
};
template <> struct dtype_of<double> : std::integral_constant<int32_t, MOCO_F64> {
};

/* Boxes: what has data() and size(). A view and an array have a shape besides. */
template <class Box> using data_of = decltype(std::declval<Box &>().data());
template <class Box, class T, class = void> struct is_box : std::false_type {
};
template <class Box, class T>
struct is_box<Box, T, std::void_t<data_of<Box>, decltype(std::declval<Box &>().size())>>
    : std::is_convertible<data_of<Box>, T *> {
};
template <class Box, class = void> struct is_shaped : std::false_type {
};
template <class Box> struct is_shaped<Box, std::void_t<decltype(std::declval<Box &>().shape())>> : std::true_type {
};

} // namespace detail

template <class T> class array;

/* Borrowed numbers in C order: view<const float> is read, view<float> also written. */
template <class T> class view
{
    using value = std::remove_const_t<T>;

  public:
    view() noexcept = default;
    view(T *data, const moco::shape &lengths) noexcept : data_(data), shape_(lengths) {}
    /* Of a vector, a string or anything else with data() and size(): all of it, as one row ... */
    template <class Box, class = std::enable_if_t<detail::is_box<Box, T>::value && !detail::is_shaped<Box>::value>>
    view(Box &&box) noexcept : view(box.data(), moco::shape{static_cast<int64_t>(box.size())})
    {
    }
    /* ... or in a shape, which must have as many elements. */
    template <class Box, class = std::enable_if_t<detail::is_box<Box, T>::value>>
    view(Box &&box, const moco::shape &lengths) noexcept : view(box.data(), lengths)
    {
        whole_ = lengths.count() == static_cast<int64_t>(box.size());
    }
    template <class U, class = std::enable_if_t<std::is_same<T, const U>::value>>
    view(const view<U> &other) noexcept : data_(other.data()), shape_(other.shape()), whole_(other.whole())
    {
    }
    view(array<value> &other) noexcept : view(other.all()) {}
    template <class U, class = std::enable_if_t<std::is_same<T, const U>::value>>
    view(const array<U> &other) noexcept : view(other.all())
    {
    }
    T *data() const noexcept { return data_; }
    size_t size() const noexcept { return whole_ && shape_.count() > 0 ? static_cast<size_t>(shape_.count()) : 0; }
    const moco::shape &shape() const noexcept { return shape_; }
    /* The first length. */
    int64_t rows() const noexcept { return shape_.ndim() > 0 ? shape_[0] : 0; }
    /* false: the shape does not fit what it was made of. */
    bool whole() const noexcept { return whole_; }
    /* Element i along the first length. */
    view row(int64_t i) const noexcept
    {
        moco::shape rest = shape_.rest();
        view out(data_ + i * rest.count(), rest);
        out.whole_ = whole_;
        return out;
    }
    /* Number i of all, in C order. */
    T &operator[](size_t i) const noexcept { return data_[i]; }
    T *begin() const noexcept { return data_; }
    T *end() const noexcept { return data_ + size(); }

  private:
    T *data_ = nullptr;
    moco::shape shape_;
    bool whole_ = true;
};

/* Owned numbers in C order, zeros at first. It may be copied. */
template <class T> class array
{
  public:
    array() = default;
    explicit array(const moco::shape &lengths)
        : shape_(lengths), numbers_(lengths.count() > 0 ? static_cast<size_t>(lengths.count()) : 0)
    {
    }
    T *data() noexcept { return numbers_.data(); }
    const T *data() const noexcept { return numbers_.data(); }
    size_t size() const noexcept { return numbers_.size(); }
    const moco::shape &shape() const noexcept { return shape_; }
    int64_t rows() const noexcept { return shape_.ndim() > 0 ? shape_[0] : 0; }
    moco::view<T> row(int64_t i) noexcept { return all().row(i); }
    moco::view<const T> row(int64_t i) const noexcept { return all().row(i); }
    moco::view<T> all() noexcept { return moco::view<T>(numbers_.data(), shape_); }
    moco::view<const T> all() const noexcept { return moco::view<const T>(numbers_.data(), shape_); }
    T &operator[](size_t i) noexcept { return numbers_[i]; }
    const T &operator[](size_t i) const noexcept { return numbers_[i]; }
    auto begin() noexcept { return numbers_.begin(); }
    auto end() noexcept { return numbers_.end(); }
    auto begin() const noexcept { return numbers_.begin(); }
    auto end() const noexcept { return numbers_.end(); }

  private:
    moco::shape shape_;
    std::vector<T> numbers_;
};

namespace detail
{

class tensor
{
  public:
    const moco_tensor *c() const noexcept { return &tensor_; }
    int64_t rows() const noexcept { return tensor_.ndim > 0 ? tensor_.shape[0] : 0; }

    int64_t columns() const noexcept { return tensor_.ndim > 1 ? tensor_.shape[1] : 0; }

  protected:
    template <class T> void set(const view<T> &from) noexcept
    {
        moco_tensor_init(&tensor_);
        tensor_.dtype = dtype_of<std::remove_const_t<T>>::value;
        tensor_.ndim = from.whole() && from.shape().count() >= 0 ? from.shape().ndim() : -1;
        for (int i = 0; i < from.shape().ndim(); i++)
            tensor_.shape[i] = from.shape()[i];
        tensor_.data = const_cast<std::remove_const_t<T> *>(from.data());
    }
    moco_tensor tensor_ = {};
};

} // namespace detail

/* What a call reads: made by itself from a view or an array of uint8_t, int64_t, bf16, float or double. */
class input : public detail::tensor
{
  public:
    template <class T> input(const view<T> &from) noexcept { set(from); }
    template <class T> input(const array<T> &from) noexcept { set(from.all()); }
};

/* What a call fills. */
class output : public detail::tensor
{
  public:
    template <class T, class = std::enable_if_t<!std::is_const<T>::value>> output(const view<T> &from) noexcept
    {
        set(from);
    }
    template <class T> output(array<T> &from) noexcept { set(from.all()); }
    moco_tensor *c() noexcept { return &tensor_; }
};

/* A text that ends in 0: a literal, a std::string, a std::filesystem::path. Borrowed for the call. */
class text
{
  public:
    text(const char *chars) noexcept : chars_(chars) {}
    template <class S, class = decltype(static_cast<const char *>(std::declval<const S &>().c_str()))>
    text(const S &string) noexcept : chars_(string.c_str())
    {
    }
    const char *c() const noexcept { return chars_; }

  private:
    const char *chars_;
};

namespace detail
{

/* `what` (labels, ids, ...) must be one for each of `rows`: C functions take them as bare pointers. */
template <class T> result<void> one_each(const view<T> &numbers, int64_t rows, const char *what) noexcept
{
    if (static_cast<int64_t>(numbers.size()) == rows)
        return {};
    char sentence[96] = "another number of ";
    std::strncat(sentence, what, sizeof sentence - 40);
    std::strcat(sentence, " than of rows");
    return error(MOCO_ESHAPE, sentence);
}

/* Texts of a range of std::string, const char * or paths, as C takes them. */
template <class Range> std::vector<const char *> texts(const Range &range)
{
    std::vector<const char *> out;
    for (const auto &each : range)
        out.push_back(text(each).c());
    return out;
}

/* A text that `fill` (buffer, size) writes, in a buffer that grows until it no longer says ESHAPE. */
template <class F> result<std::string> grown(F &&fill) noexcept
{
    return guarded([&]() -> result<std::string> {
        for (size_t size = 256;; size *= 8) {
            std::string out(size, 0);
            moco_status status = fill(&out[0], size);
            if (status == MOCO_ESHAPE && size < (size_t(1) << 30))
                continue;
            if (status != MOCO_OK)
                return error::last(status);
            out.resize(std::strlen(out.c_str()));
            return out;
        }
    });
}

} // namespace detail
} // namespace moco

#endif
