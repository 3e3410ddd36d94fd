#include "trace/protobuf_writer.h"

namespace edgewise::trace {
namespace {

constexpr std::uint32_t kVarint = 0;
constexpr std::uint32_t kFixed64 = 1;
constexpr std::uint32_t kLengthDelimited = 2;

}  // namespace

void ProtobufWriter::raw_varint(std::uint64_t value) {
  while (value >= 0x80) {
    text_ += static_cast<char>(value | 0x80);
    value >>= 7;
  }
  text_ += static_cast<char>(value);
}

void ProtobufWriter::key(std::uint32_t field, std::uint32_t wire_type) {
  raw_varint(std::uint64_t{field} << 3 | wire_type);
}

ProtobufWriter& ProtobufWriter::varint(std::uint32_t field, std::uint64_t value) {
  key(field, kVarint);
  raw_varint(value);
  return *this;
}

ProtobufWriter& ProtobufWriter::fixed64(std::uint32_t field, std::uint64_t value) {
  key(field, kFixed64);
  for (int byte = 0; byte < 8; ++byte) {
    text_ += static_cast<char>(value >> (8 * byte));
  }
  return *this;
}

ProtobufWriter& ProtobufWriter::bytes(std::uint32_t field, std::string_view value) {
  key(field, kLengthDelimited);
  raw_varint(value.size());
  text_ += value;
  return *this;
}

}  // namespace edgewise::trace
