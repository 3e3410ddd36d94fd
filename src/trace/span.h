// One span of a trace, as OpenTelemetry defines it: a piece of work with a beginning and an end.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "trace/context.h"

namespace edgewise::trace {

struct Attribute {
  std::string name;
  std::variant<std::string, std::int64_t, std::vector<std::string>> value;
};

enum class SpanKind { kInternal = 1, kServer = 2 };  // numbered as in OTLP

struct Span {
  TraceId trace{};
  SpanId id{};
  SpanId parent{};  // zero: none
  std::string name;
  SpanKind kind = SpanKind::kInternal;
  std::int64_t start_ns = 0;  // since 1970
  std::int64_t end_ns = 0;
  std::vector<Attribute> attributes;
  bool is_error = false;
};

}  // namespace edgewise::trace
