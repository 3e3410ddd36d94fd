// Which trace a request belongs to: W3C Trace Context, level 1 (www.w3.org/TR/trace-context-1).
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace edgewise::trace {

using TraceId = std::array<std::byte, 16>;
using SpanId = std::array<std::byte, 8>;

struct TraceContext {
  TraceId trace{};
  SpanId span{};  // the caller's
  bool is_sampled = false;
};

// The value of a "traceparent" header. Nothing when it is not valid: the trace then begins here.
std::optional<TraceContext> parse_traceparent(std::string_view header);

// Random, never zero.
TraceId new_trace_id();
SpanId new_span_id();

}  // namespace edgewise::trace
