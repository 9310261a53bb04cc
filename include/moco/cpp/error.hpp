/* SPDX-License-Identifier: MIT
 *
 * moco/cpp/error.hpp: how calls of moco.hpp fail. `error` is a status and its sentence; `result<T>` is a T or an error.
 * What a reader would get wrong: an error keeps its own copy of the sentence, since moco_error() lasts only until the
 * thread's next call; the copy needs no memory, so that "out of memory" can be reported as well. */
#ifndef MOCO_CPP_ERROR_HPP
#define MOCO_CPP_ERROR_HPP

#include <cstring>
#include <exception>
#include <new>
#include <optional>
#include <utility>
#include <variant>

#include "moco/base.h"

/* 1: the calls that throw exist. It follows the compiler (-fno-exceptions). */
#if defined(__cpp_exceptions)
#define MOCO_CPP_EXCEPTIONS 1
#else
#define MOCO_CPP_EXCEPTIONS 0
#endif

namespace moco
{

/* Why a call failed: what is thrown, and what a result holds. */
class error : public std::exception
{
  public:
    error(moco_status status, const char *sentence) noexcept : status_(status)
    {
        size_t length = std::strlen(sentence);
        if (length >= sizeof text_) { /* cut before a character of UTF-8, not within it */
            length = sizeof text_ - 1;
            while (length > 0 && (static_cast<unsigned char>(sentence[length]) & 0xc0) == 0x80)
                length--;
        }
        std::memcpy(text_, sentence, length);
        text_[length] = 0;
    }
    /* The last failure of this thread: call it right after the C function that returned `status`. */
    static error last(moco_status status) noexcept
    {
        const char *sentence = moco_error();
        return error(status, *sentence != 0 ? sentence : moco_status_text(status));
    }
    moco_status status() const noexcept { return status_; }
    const char *what() const noexcept override { return text_; }
    /* The exception of a callback that ended the call; NULL if there was none. */
    const std::exception_ptr &cause() const noexcept { return cause_; }
#if MOCO_CPP_EXCEPTIONS
    /* What `cause` is as an error: its own status and sentence if it is one, ENOMEM for std::bad_alloc, else `other`. */
    static error of(const std::exception_ptr &cause, moco_status other) noexcept
    {
        error made(other, "a callback threw an exception");
        try {
            std::rethrow_exception(cause);
        } catch (const error &e) {
            made = e;
        } catch (const std::bad_alloc &) {
            made = error(MOCO_ENOMEM, "out of memory");
        } catch (const std::exception &e) {
            made = error(other, e.what());
        } catch (...) {
        }
        made.cause_ = cause;
        return made;
    }
    /* Throws the exception of the callback if there is one, else this. */
    [[noreturn]] void raise() const
    {
        if (cause_)
            std::rethrow_exception(cause_);
        throw *this;
    }
#endif

  private:
    moco_status status_;
    std::exception_ptr cause_;
    char text_[512];
};

/* A T, or why there is none. `*r` and `r->` may be used only if `r` is true, r.error() only if it is false;
 * r.value() throws the error if there is one. */
template <class T> class [[nodiscard]] result
{
  public:
    result(T value) : held_(std::in_place_index<0>, std::move(value)) {}
    result(::moco::error why) noexcept : held_(std::in_place_index<1>, std::move(why)) {}
    explicit operator bool() const noexcept { return held_.index() == 0; }
    moco_status status() const noexcept { return *this ? MOCO_OK : error().status(); }
    const ::moco::error &error() const noexcept { return *std::get_if<1>(&held_); }
    T &operator*() &noexcept { return *std::get_if<0>(&held_); }
    const T &operator*() const &noexcept { return *std::get_if<0>(&held_); }
    T &&operator*() &&noexcept { return std::move(*std::get_if<0>(&held_)); }
    T *operator->() noexcept { return std::get_if<0>(&held_); }
    const T *operator->() const noexcept { return std::get_if<0>(&held_); }
#if MOCO_CPP_EXCEPTIONS
    T value() &&
    {
        if (!*this)
            error().raise();
        return std::move(**this);
    }
    const T &value() const &
    {
        if (!*this)
            error().raise();
        return **this;
    }
#endif

  private:
    std::variant<T, ::moco::error> held_;
};

/* The result of a call that returns nothing. */
template <> class [[nodiscard]] result<void>
{
  public:
    result() noexcept = default;
    result(::moco::error why) noexcept : held_(std::move(why)) {}
    explicit operator bool() const noexcept { return !held_; }
    moco_status status() const noexcept { return held_ ? held_->status() : MOCO_OK; }
    const ::moco::error &error() const noexcept { return *held_; }
#if MOCO_CPP_EXCEPTIONS
    void value() const
    {
        if (held_)
            held_->raise();
    }
#endif

  private:
    std::optional<::moco::error> held_;
};

namespace detail
{

inline result<void> done(moco_status status) noexcept
{
    if (status != MOCO_OK)
        return error::last(status);
    return {};
}

template <class T> result<T> give(moco_status status, T value)
{
    if (status != MOCO_OK)
        return error::last(status);
    return value;
}

/* Runs `f`, which returns a result; what it throws (std::bad_alloc) becomes an error. */
template <class F> auto guarded(F &&f) noexcept -> decltype(f())
{
#if MOCO_CPP_EXCEPTIONS
    try {
        return f();
    } catch (...) {
        return error::of(std::current_exception(), MOCO_EINVAL);
    }
#else
    return f();
#endif
}

} // namespace detail
} // namespace moco

#endif
