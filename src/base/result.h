// Result<T>: how expected failures travel (bad files, bad requests, missing resources).
//
// A function that can fail for a reason outside the program returns Result<T>; a programmer's error is a
// CHECK (check.h). Error messages are sentences for people: what happened, where, what to do about it.
#pragma once

#include <fmt/format.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace edgewise {

// The canonical codes; api/ maps them to HTTP statuses and the command line to exit codes.
enum class ErrorCode {
  kInvalidArgument,      // the request or the option is wrong
  kNotFound,             // a file, model or name does not exist
  kCorrupt,              // a file's bytes contradict its format
  kUnsupported,          // well-formed, but not something this program does
  kResourceExhausted,    // memory, context or a limit is used up
  kUnavailable,          // cannot serve right now; trying again later may work
  kDeadlineUnreachable,  // not begun: it could not be done in time
  kDeadlineExceeded,     // the time is up, the work was stopped
  kCancelled,            // the caller went away
  kPermissionDenied,
  kIo,        // the operating system refused
  kInternal,  // a bug, reported instead of aborting
};

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
  double retry_after_s = 0.0;  // when trying again may work; 0: unknown; infinite: never does
};

template <typename T>
using Result = tl::expected<T, Error>;

// fail(ErrorCode::kCorrupt, "{}: tensor count {} is negative", path, n)
template <typename... Args>
[[nodiscard]] tl::unexpected<Error> fail(ErrorCode code,
                                         fmt::format_string<Args...> format,
                                         Args&&... args) {
  return tl::unexpected<Error>(Error{code, fmt::format(format, std::forward<Args>(args)...)});
}

// Passes an error on with a prefix that says what was being done.
[[nodiscard]] inline tl::unexpected<Error> wrap(Error error, std::string_view context) {
  error.message = fmt::format("{}: {}", context, error.message);
  return tl::unexpected<Error>(std::move(error));
}

}  // namespace edgewise

// TRY(expr): the value of a Result, or return its error from the enclosing function.
#define TRY(...) EDGEWISE_TRY_NAMED(EDGEWISE_JOIN(try_result_, __COUNTER__), __VA_ARGS__)

// TRY_VOID(expr): the same for Result<void>.
#define TRY_VOID(...)                                                                \
  do {                                                                               \
    auto try_void_result_ = (__VA_ARGS__);                                           \
    if (!try_void_result_) [[unlikely]] {                                            \
      return tl::unexpected<::edgewise::Error>(std::move(try_void_result_).error()); \
    }                                                                                \
  } while (false)

// A name of its own for each use, so that a TRY inside a TRY's argument shadows nothing.
#define EDGEWISE_JOIN(a, b) EDGEWISE_JOIN_EXPANDED(a, b)
#define EDGEWISE_JOIN_EXPANDED(a, b) a##b
#define EDGEWISE_TRY_NAMED(name, ...)                                    \
  __extension__({                                                        \
    auto name = (__VA_ARGS__);                                           \
    if (!name) [[unlikely]] {                                            \
      return tl::unexpected<::edgewise::Error>(std::move(name).error()); \
    }                                                                    \
    std::move(name).value();                                             \
  })
