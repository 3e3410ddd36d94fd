// CHECK(cond, "format", args...): a programmer's error ends the process with a message. On in release.
//
// A CHECK must be unreachable from any input; input errors are Results.
#pragma once

#include <fmt/format.h>

#include <string>

namespace edgewise {

[[noreturn]] void check_failed(const char* file,
                               int line,
                               const char* condition,
                               const std::string& message);

}  // namespace edgewise

#define CHECK(condition, ...)                                                                \
  do {                                                                                       \
    if (!(condition)) [[unlikely]] {                                                         \
      ::edgewise::check_failed(__FILE__, __LINE__, #condition, fmt::format("" __VA_ARGS__)); \
    }                                                                                        \
  } while (false)
