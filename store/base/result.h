// SPDX-License-Identifier: Apache-2.0
//
// The one error vocabulary of bygone: Error{code, errnum, message}, Result<T> and TRY.
// Nothing of ours throws; every expected failure travels as a Result and ends as one errno, one
// exit code or one log line. The interface is a subset of std::expected (absent from g++ 12 in
// C++20), so that it can be replaced by it. Values only: safe to hand between threads.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <variant>

namespace bygone {

enum class Code {
  not_found,    // a name, id or object that does not exist
  exists,       // something is in the way
  denied,       // the operating system or the key refused
  invalid,      // bad input from a person, a file or the network
  busy,         // locked by another process
  corrupt,      // stored data that does not prove itself
  io,           // the operating system failed
  no_space,     // the disk is full
  unavailable,  // a service (the Docker engine, an index) cannot be reached now
  unsupported,  // a newer format or a missing feature
  cancelled,    // a person or a deadline stopped it
  hook,         // a command of the user's, run for him, failed
};

struct Error {
  Code code = Code::io;
  int errnum = 0;  // errno when the operating system was the cause, else 0
  std::string message;

  // Puts `context` and ": " in front of the message: the layer's own view of what failed.
  [[nodiscard]] Error with(const std::string& context) && {
    message = context + ": " + message;
    return std::move(*this);
  }
};

// Error for a failed system call: the code follows `errnum` (ENOENT is not_found, EACCES denied,
// ENOSPC and EDQUOT no_space, ...); the message is "`what`: " and the errno's text.
[[nodiscard]] Error os_error(int errnum, const std::string& what);

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  // Precondition of value access: ok(); of error(): !ok(). Broken preconditions abort.
  [[nodiscard]] T& value() & { return *checked(); }
  [[nodiscard]] const T& value() const& { return *const_cast<Result*>(this)->checked(); }
  T&& value() && { return std::move(*checked()); }
  T& operator*() & { return *checked(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*checked()); }
  T* operator->() { return checked(); }
  const T* operator->() const { return const_cast<Result*>(this)->checked(); }
  [[nodiscard]] const Error& error() const& { return std::get<1>(state_); }
  [[nodiscard]] Error&& error() && { return std::get<1>(std::move(state_)); }

 private:
  T* checked() {
    T* p = std::get_if<0>(&state_);
    if (p == nullptr) std::abort();
    return p;
  }
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(Error error) : error_(std::move(error)), ok_(false) {}
  [[nodiscard]] bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  void value() const {}
  [[nodiscard]] const Error& error() const& { return error_; }
  [[nodiscard]] Error&& error() && { return std::move(error_); }

 private:
  Error error_;
  bool ok_ = true;
};

// The one way to drop a Result on purpose; `why` documents it at the call.
template <class T>
void ignore(const Result<T>& /*result*/, const char* /*why*/) {}

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace bygone

#define BYGONE_CONCAT2(a, b) a##b
#define BYGONE_CONCAT(a, b) BYGONE_CONCAT2(a, b)
#define BYGONE_TRY(name, ...)         \
  __extension__({                     \
    auto name = (__VA_ARGS__);        \
    if (!name.ok()) [[unlikely]]      \
      return std::move(name).error(); \
    std::move(name).value();          \
  })
// The value of a Result expression; on failure returns its Error from the enclosing function.
#define TRY(...) \
  BYGONE_TRY(BYGONE_CONCAT(try_, __COUNTER__), __VA_ARGS__)  // NOLINT(bugprone-macro-parentheses)

// Programmer errors only: never for what comes from disk, kernel, network or Docker.
#define CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::bygone::check_failed(#condition, __FILE__, __LINE__))
