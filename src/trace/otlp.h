// Spans in the form that collectors take: OTLP's ExportTraceServiceRequest in Protocol Buffers
// (github.com/open-telemetry/opentelemetry-proto, v1).
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "trace/span.h"

namespace edgewise::trace {

// Who the spans come from.
struct Resource {
  std::string service_name = "edgewise";
  std::string service_version;
};

std::string encode_otlp(const Resource& resource, std::span<const Span> spans);

// How many spans an ExportTraceServiceResponse says were rejected; what cannot be read says none.
std::int64_t rejected_spans(std::string_view response);

}  // namespace edgewise::trace
