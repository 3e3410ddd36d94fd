// Writes messages of Protocol Buffers (protobuf.dev/programming-guides/encoding), field by field. Only
// what OTLP needs. Fields with their default value may be left out, as proto3 does.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace edgewise::trace {

class ProtobufWriter {
 public:
  ProtobufWriter& varint(std::uint32_t field, std::uint64_t value);  // int64, enumerations, bool
  ProtobufWriter& fixed64(std::uint32_t field, std::uint64_t value);
  ProtobufWriter& bytes(std::uint32_t field, std::string_view value);  // strings, too

  ProtobufWriter& message(std::uint32_t field, const ProtobufWriter& value) {
    return bytes(field, value.text_);
  }

  std::string take() { return std::move(text_); }

 private:
  void key(std::uint32_t field, std::uint32_t wire_type);
  void raw_varint(std::uint64_t value);

  std::string text_;
};

}  // namespace edgewise::trace
