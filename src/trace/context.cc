#include "trace/context.h"

#include <algorithm>
#include <cstdint>
#include <random>
#include <span>

namespace edgewise::trace {
namespace {

// version "-" trace-id "-" parent-id "-" trace-flags
constexpr std::size_t kTraceAt = 3;
constexpr std::size_t kSpanAt = kTraceAt + 32 + 1;
constexpr std::size_t kFlagsAt = kSpanAt + 16 + 1;
constexpr std::size_t kLength = kFlagsAt + 2;

// Upper-case digits are not allowed.
int hex_digit(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool read_hex(std::string_view text, std::span<std::byte> into) {
  for (std::size_t i = 0; i < into.size(); ++i) {
    const int high = hex_digit(text[2 * i]);
    const int low = hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0) {
      return false;
    }
    into[i] = static_cast<std::byte>(high * 16 + low);
  }
  return true;
}

bool is_zero(std::span<const std::byte> id) {
  return std::all_of(id.begin(), id.end(), [](std::byte b) { return b == std::byte{0}; });
}

template <typename Id>
Id random_id() {
  std::random_device device;
  Id id{};
  do {
    for (std::byte& byte : id) {
      byte = static_cast<std::byte>(device());
    }
  } while (is_zero(id));
  return id;
}

}  // namespace

std::optional<TraceContext> parse_traceparent(std::string_view header) {
  if (header.size() < kLength || header[kTraceAt - 1] != '-' || header[kSpanAt - 1] != '-' ||
      header[kFlagsAt - 1] != '-') {
    return std::nullopt;
  }
  TraceContext context;
  std::array<std::byte, 1> version{};
  std::array<std::byte, 1> flags{};
  if (!read_hex(header, version) || !read_hex(header.substr(kTraceAt), context.trace) ||
      !read_hex(header.substr(kSpanAt), context.span) ||
      !read_hex(header.substr(kFlagsAt), flags)) {
    return std::nullopt;
  }
  // Later versions may have more behind the flags; version 255 is none.
  const bool has_right_end = version[0] == std::byte{0}
                                 ? header.size() == kLength
                                 : header.size() == kLength || header[kLength] == '-';
  if (version[0] == std::byte{0xFF} || !has_right_end || is_zero(context.trace) ||
      is_zero(context.span)) {
    return std::nullopt;
  }
  context.is_sampled = (flags[0] & std::byte{1}) != std::byte{0};
  return context;
}

TraceId new_trace_id() {
  return random_id<TraceId>();
}

SpanId new_span_id() {
  return random_id<SpanId>();
}

}  // namespace edgewise::trace
