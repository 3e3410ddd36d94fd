#include "trace/otlp.h"

#include <algorithm>
#include <optional>

#include "trace/protobuf_writer.h"

namespace edgewise::trace {
namespace {

// Field numbers, by message. opentelemetry/proto/collector/trace/v1/trace_service.proto
namespace request {
constexpr std::uint32_t kResourceSpans = 1;
}

namespace response {
constexpr std::uint32_t kPartialSuccess = 1;
constexpr std::uint32_t kRejectedSpans = 1;
}  // namespace response

// .../resource/v1/resource.proto and .../common/v1/common.proto
namespace resource_field {
constexpr std::uint32_t kAttributes = 1;
}

namespace scope {
constexpr std::uint32_t kName = 1;
constexpr std::uint32_t kVersion = 2;
}  // namespace scope

namespace key_value {
constexpr std::uint32_t kKey = 1;
constexpr std::uint32_t kValue = 2;
}  // namespace key_value

namespace any_value {
constexpr std::uint32_t kString = 1;
constexpr std::uint32_t kInt = 3;
constexpr std::uint32_t kArray = 5;
constexpr std::uint32_t kValues = 1;  // of the array
}  // namespace any_value

// .../trace/v1/trace.proto
namespace resource_spans {
constexpr std::uint32_t kResource = 1;
constexpr std::uint32_t kScopeSpans = 2;
}  // namespace resource_spans

namespace scope_spans {
constexpr std::uint32_t kScope = 1;
constexpr std::uint32_t kSpans = 2;
}  // namespace scope_spans

namespace span_field {
constexpr std::uint32_t kTraceId = 1;
constexpr std::uint32_t kSpanId = 2;
constexpr std::uint32_t kParent = 4;
constexpr std::uint32_t kName = 5;
constexpr std::uint32_t kKind = 6;
constexpr std::uint32_t kStart = 7;
constexpr std::uint32_t kEnd = 8;
constexpr std::uint32_t kAttributes = 9;
constexpr std::uint32_t kStatus = 15;
}  // namespace span_field

namespace status {
constexpr std::uint32_t kCode = 3;
constexpr std::uint64_t kError = 2;
}  // namespace status

std::string_view text_of(std::span<const std::byte> id) {
  return {reinterpret_cast<const char*>(id.data()), id.size()};
}

ProtobufWriter encode_value(const std::string& text) {
  ProtobufWriter out;
  out.bytes(any_value::kString, text);
  return out;
}

ProtobufWriter encode_value(std::int64_t number) {
  ProtobufWriter out;
  out.varint(any_value::kInt, static_cast<std::uint64_t>(number));
  return out;
}

ProtobufWriter encode_value(const std::vector<std::string>& texts) {
  ProtobufWriter array;
  for (const std::string& text : texts) {
    array.message(any_value::kValues, encode_value(text));
  }
  ProtobufWriter out;
  out.message(any_value::kArray, array);
  return out;
}

ProtobufWriter encode_attribute(const Attribute& attribute) {
  ProtobufWriter out;
  out.bytes(key_value::kKey, attribute.name);
  out.message(key_value::kValue,
              std::visit([](const auto& value) { return encode_value(value); }, attribute.value));
  return out;
}

ProtobufWriter encode_span(const Span& span) {
  ProtobufWriter out;
  out.bytes(span_field::kTraceId, text_of(span.trace)).bytes(span_field::kSpanId, text_of(span.id));
  if (span.parent != SpanId{}) {
    out.bytes(span_field::kParent, text_of(span.parent));
  }
  out.bytes(span_field::kName, span.name);
  out.varint(span_field::kKind, static_cast<std::uint64_t>(span.kind));
  out.fixed64(span_field::kStart, static_cast<std::uint64_t>(span.start_ns));
  out.fixed64(span_field::kEnd, static_cast<std::uint64_t>(span.end_ns));
  for (const Attribute& attribute : span.attributes) {
    out.message(span_field::kAttributes, encode_attribute(attribute));
  }
  if (span.is_error) {
    ProtobufWriter error;
    error.varint(status::kCode, status::kError);
    out.message(span_field::kStatus, error);
  }
  return out;
}

// Reads what a collector says, which may be anything.
class ProtobufReader {
 public:
  explicit ProtobufReader(std::string_view text) : rest_(text) {}

  std::optional<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) {
        return value;
      }
    }
    return std::nullopt;
  }

  std::optional<std::string_view> bytes() {
    const std::optional<std::uint64_t> size = varint();
    if (!size || *size > rest_.size()) {
      return std::nullopt;
    }
    const std::string_view value = rest_.substr(0, *size);
    rest_.remove_prefix(*size);
    return value;
  }

 private:
  std::string_view rest_;
};

}  // namespace

std::string encode_otlp(const Resource& resource, std::span<const Span> spans) {
  ProtobufWriter service;
  service.message(resource_field::kAttributes,
                  encode_attribute({"service.name", resource.service_name}));
  service.message(resource_field::kAttributes,
                  encode_attribute({"service.version", resource.service_version}));
  ProtobufWriter instrumentation;
  instrumentation.bytes(scope::kName, "edgewise").bytes(scope::kVersion, resource.service_version);
  ProtobufWriter of_scope;
  of_scope.message(scope_spans::kScope, instrumentation);
  for (const Span& span : spans) {
    of_scope.message(scope_spans::kSpans, encode_span(span));
  }
  ProtobufWriter of_resource;
  of_resource.message(resource_spans::kResource, service);
  of_resource.message(resource_spans::kScopeSpans, of_scope);
  ProtobufWriter out;
  return out.message(request::kResourceSpans, of_resource).take();
}

// The message has one field, which has two: the number first, where writers keep the order.
std::int64_t rejected_spans(std::string_view reply) {
  constexpr std::uint64_t kPartialKey = response::kPartialSuccess << 3U | 2U;
  constexpr std::uint64_t kRejectedKey = response::kRejectedSpans << 3U;
  ProtobufReader outer(reply);
  if (outer.varint() != kPartialKey) {
    return 0;
  }
  ProtobufReader inner(outer.bytes().value_or(""));
  if (inner.varint() != kRejectedKey) {
    return 0;
  }
  return std::max<std::int64_t>(0, static_cast<std::int64_t>(inner.varint().value_or(0)));
}

}  // namespace edgewise::trace
