// The format: ggml's docs/gguf.md. An entry is key, type, value; an array is element type, count,
// elements.
#include "tensor/gguf_metadata.h"

#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace edgewise::tensor {
namespace {

enum class ValueType : std::uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
};

constexpr std::uint64_t kMaxKeyBytes = 65535;  // docs/gguf.md
constexpr std::uint64_t kLeastEntryBytes = 8 + 1 + 4 + 1;
constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();
// Elements of all arrays together. The largest vocabularies need about a million; an element takes
// at most 32 bytes in memory for the 1 to 8 that it takes in the file.
constexpr std::uint64_t kMaxElements = std::uint64_t{1} << 24;

class MetadataReader {
 public:
  explicit MetadataReader(ByteCursor& in) : in_(in) {}

  Result<void> read_entry(Metadata& metadata) {
    field_ = TRY(in_.read_string("a metadata key", kMaxKeyBytes));
    if (field_.empty()) {
      return in_.error("a metadata key is empty");
    }
    if (metadata.find(field_) != nullptr) {
      return in_.error("metadata key {} appears twice", printable(field_));
    }
    MetadataValue value = TRY(read_value());
    metadata.set(std::string(field_), std::move(value));
    return {};
  }

 private:
  Result<MetadataValue> read_value() {
    const auto type = static_cast<ValueType>(TRY(in_.read<std::uint32_t>(field_)));
    switch (type) {
      case ValueType::kU8:
        return read_as<std::uint8_t, std::int64_t>();
      case ValueType::kI8:
        return read_as<std::int8_t, std::int64_t>();
      case ValueType::kU16:
        return read_as<std::uint16_t, std::int64_t>();
      case ValueType::kI16:
        return read_as<std::int16_t, std::int64_t>();
      case ValueType::kU32:
        return read_as<std::uint32_t, std::int64_t>();
      case ValueType::kI32:
        return read_as<std::int32_t, std::int64_t>();
      case ValueType::kU64:
        return read_as<std::uint64_t, std::uint64_t>();
      case ValueType::kI64:
        return read_as<std::int64_t, std::int64_t>();
      case ValueType::kF32:
        return read_as<float, double>();
      case ValueType::kF64:
        return read_as<double, double>();
      case ValueType::kBool:
        return read_bool();
      case ValueType::kString:
        return read_text();
      case ValueType::kArray:
        return read_array();
    }
    return in_.error("metadata key {} has the unknown value type {}", printable(field_),
                     static_cast<std::uint32_t>(type));
  }

  template <typename Stored, typename Wide>
  Result<MetadataValue> read_as() {
    const auto value = TRY(in_.read<Stored>(field_));
    return MetadataValue(static_cast<Wide>(value));
  }

  Result<MetadataValue> read_text() {
    const std::string_view text = TRY(in_.read_string(field_, kUnlimited));
    return MetadataValue(std::string(text));
  }

  Result<MetadataValue> read_bool() {
    const auto value = TRY(in_.read<std::uint8_t>(field_));
    if (value > 1) {
      return in_.error("metadata key {} is a bool with the value {}", printable(field_), value);
    }
    return MetadataValue(value == 1);
  }

  Result<MetadataValue> read_array() {
    const auto type = static_cast<ValueType>(TRY(in_.read<std::uint32_t>(field_)));
    const auto count = TRY(in_.read<std::uint64_t>(field_));
    switch (type) {
      case ValueType::kU8:
        return read_numbers<std::uint8_t, std::int64_t>(count);
      case ValueType::kI8:
        return read_numbers<std::int8_t, std::int64_t>(count);
      case ValueType::kBool:
        return read_numbers<bool, std::int64_t>(count);
      case ValueType::kU16:
        return read_numbers<std::uint16_t, std::int64_t>(count);
      case ValueType::kI16:
        return read_numbers<std::int16_t, std::int64_t>(count);
      case ValueType::kU32:
        return read_numbers<std::uint32_t, std::int64_t>(count);
      case ValueType::kI32:
        return read_numbers<std::int32_t, std::int64_t>(count);
      case ValueType::kU64:
        return read_numbers<std::uint64_t, std::int64_t>(count);
      case ValueType::kI64:
        return read_numbers<std::int64_t, std::int64_t>(count);
      case ValueType::kF32:
        return read_numbers<float, float>(count);
      case ValueType::kF64:
        return read_numbers<double, float>(count);
      case ValueType::kString:
        return read_strings(count);
      case ValueType::kArray:
        return in_.unsupported("metadata key {} is an array of arrays, which is not supported",
                               printable(field_));
    }
    return in_.error("metadata key {} is an array of the unknown type {}", printable(field_),
                     static_cast<std::uint32_t>(type));
  }

  // Before anything is allocated for `count` elements of at least `least_bytes` in the file.
  Result<void> check_count(std::uint64_t count, std::uint64_t least_bytes) {
    if (count > in_.left() / least_bytes) {
      return in_.error(
          "metadata key {} claims {} array elements, but only {} bytes are left; is the file "
          "complete?",
          printable(field_), count, in_.left());
    }
    if (count > kMaxElements - elements_) {
      return in_.error(
          "metadata key {} claims {} array elements; at most {} are allowed in all arrays together",
          printable(field_), count, kMaxElements);
    }
    elements_ += count;
    return {};
  }

  template <typename Stored, typename Wide>
  Result<MetadataValue> read_numbers(std::uint64_t count) {
    TRY_VOID(check_count(count, sizeof(Stored)));
    // Bools are read as bytes: a bool must not be made from bits that are neither 0 nor 1.
    using Raw = std::conditional_t<std::is_same_v<Stored, bool>, std::uint8_t, Stored>;
    std::vector<Wide> values(count);
    const std::byte* raw = in_.take(count * sizeof(Raw));
    bool in_range = true;
    for (std::uint64_t i = 0; i < count; ++i) {
      Raw value;
      std::memcpy(&value, raw + i * sizeof(Raw), sizeof(Raw));
      if constexpr (std::is_same_v<Stored, bool>) {
        in_range = in_range && value <= 1;
      } else if constexpr (std::is_same_v<Stored, std::uint64_t>) {
        in_range = in_range &&
                   value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
      }
      values[i] = static_cast<Wide>(value);
    }
    if (!in_range) {
      return in_.error("metadata key {} holds a value that its array type does not allow",
                       printable(field_));
    }
    return MetadataValue(std::move(values));
  }

  Result<MetadataValue> read_strings(std::uint64_t count) {
    TRY_VOID(check_count(count, sizeof(std::uint64_t)));
    TextList values;
    values.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
      values.push_back(TRY(in_.read_string(field_, kUnlimited)));
    }
    return MetadataValue(std::move(values));
  }

  ByteCursor& in_;
  std::string_view field_;  // the key whose value is being read; lies in the file
  std::uint64_t elements_ = 0;
};

}  // namespace

Result<Metadata> read_gguf_metadata(ByteCursor& in, std::uint64_t count) {
  if (count > in.left() / kLeastEntryBytes) {
    return in.error("the header claims {} metadata entries, but only {} bytes are left", count,
                    in.left());
  }
  Metadata metadata;
  MetadataReader reader(in);
  for (std::uint64_t i = 0; i < count; ++i) {
    TRY_VOID(reader.read_entry(metadata));
  }
  return metadata;
}

}  // namespace edgewise::tensor
