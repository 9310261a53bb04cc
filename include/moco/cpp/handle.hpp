/* SPDX-License-Identifier: MIT
 *
 * moco/cpp/handle.hpp: what all handles share, option structs with their defaults, and how a lambda serves as a
 * callback. What a reader would get wrong: the library keeps what a handle was made from for as long as it needs it,
 * and so must the lambdas of those live. Each handle therefore holds, beside its C handle, what keeps them alive. */
#ifndef MOCO_CPP_HANDLE_HPP
#define MOCO_CPP_HANDLE_HPP

#include <memory>

#include "moco/cpp/view.hpp"

namespace moco
{

/* Keeps the lambdas alive that the library may call. */
using keep = std::shared_ptr<const void>;

/* A C handle that is freed with this object. It moves and does not copy. One that was moved from, or made by nobody, is
 * empty: every call on it fails with MOCO_EINVAL, or returns what the C function returns for NULL. */
template <class C, void (*Free)(C *)> class handle
{
  public:
    handle() noexcept = default;
    explicit handle(C *owned, keep alive = nullptr) noexcept : c_(owned), keep_(std::move(alive)) {}
    handle(handle &&other) noexcept : c_(std::exchange(other.c_, nullptr)), keep_(std::move(other.keep_)) {}
    handle &operator=(handle &&other) noexcept
    {
        handle taken(std::move(other));
        std::swap(c_, taken.c_);
        std::swap(keep_, taken.keep_);
        return *this;
    }
    handle(const handle &) = delete;
    handle &operator=(const handle &) = delete;
    ~handle() { Free(c_); }
    /* For calls of the C interface. Borrowed. */
    C *get() const noexcept { return c_; }
    explicit operator bool() const noexcept { return c_ != nullptr; }
    const keep &kept() const noexcept { return keep_; }

  protected:
    C *c_ = nullptr;
    keep keep_;
};

/* The C struct, with its defaults. */
template <class C, void (*Init)(C *, size_t)> struct with_defaults : C {
    with_defaults() noexcept : C{} { Init(static_cast<C *>(this), sizeof(C)); }
    with_defaults(const C &other) noexcept : C(other) {}
};

namespace detail
{

/* A handle from what a C function made. */
template <class H, class C> result<H> made(moco_status status, C *c, keep alive = nullptr) noexcept
{
    if (status != MOCO_OK)
        return error::last(status);
    return H(c, std::move(alive));
}

/* Keeps what several handles need. */
inline keep both(const keep &a, const keep &b)
{
    if (!a || !b || a == b)
        return a ? a : b;
    return std::make_shared<const std::pair<keep, keep>>(a, b);
}

/* A callback for one call. What it throws is kept, and ends the call. Callbacks return nothing, or a bool. */
template <class F> class callback
{
  public:
    explicit callback(F &f) noexcept : f_(&f) {}
    /* What it returned; nothing means `nothing`, and an exception `thrown`. */
    template <class... A> bool run(bool nothing, bool thrown, A... arguments) noexcept
    {
        using returned = decltype((*f_)(arguments...));
        static_assert(std::is_void<returned>::value || std::is_same<returned, bool>::value,
                      "a callback of moco.hpp returns nothing or a bool");
#if MOCO_CPP_EXCEPTIONS
        if (thrown_)
            return thrown;
        try {
#endif
            if constexpr (std::is_void<returned>::value) {
                (*f_)(arguments...);
                return nothing;
            } else {
                return (*f_)(arguments...);
            }
#if MOCO_CPP_EXCEPTIONS
        } catch (...) {
            thrown_ = std::current_exception();
            return thrown;
        }
#else
        (void)thrown;
#endif
    }
    std::exception_ptr thrown() const noexcept
    {
        return thrown_;
    }
    /* What the call returned, or the exception of the callback. */
    result<void> end(moco_status status) noexcept
    {
#if MOCO_CPP_EXCEPTIONS
        if (thrown_)
            return error::of(std::exchange(thrown_, nullptr), MOCO_ECANCELED);
#endif
        return done(status);
    }
    /* The same after a call of this header. */
    result<void> end(const result<void> &call) noexcept
    {
#if MOCO_CPP_EXCEPTIONS
        if (thrown_)
            return end(MOCO_OK);
#endif
        return call;
    }

  private:
    F *f_;
    std::exception_ptr thrown_;
};

/* moco_bad_image for a lambda (id, path, reason) that returns nothing, or false to hear of no more. */
template <class F> int bad_image(void *user, int64_t id, const char *path, const char *reason) noexcept
{
    return static_cast<callback<F> *>(user)->run(true, false, id, path, reason) ? 0 : 1;
}

} // namespace detail
} // namespace moco

#endif
