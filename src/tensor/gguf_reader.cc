// The format: ggml's docs/gguf.md. All integers are little-endian; this reader runs on little-endian machines.
#include "tensor/gguf_reader.h"

#include <bit>
#include <cstring>
#include <limits>
#include <unordered_set>

namespace edgewise::tensor {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF files are little-endian");

enum class ValueType : std::uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64 };

// Limits against absurd counts, far above what any model uses. The file's own size bounds the rest.
constexpr std::uint64_t kMaxKeyBytes = 65535;
constexpr std::uint64_t kMaxEntries = 1U << 20U;
constexpr std::uint64_t kMaxAlignment = 1U << 20U;
constexpr std::uint64_t kMaxNameBytes = 1024;

std::size_t scalar_bytes(ValueType type) {
  switch (type) {
    case ValueType::kU8:
    case ValueType::kI8:
    case ValueType::kBool: return 1;
    case ValueType::kU16:
    case ValueType::kI16: return 2;
    case ValueType::kU32:
    case ValueType::kI32:
    case ValueType::kF32: return 4;
    case ValueType::kU64:
    case ValueType::kI64:
    case ValueType::kF64: return 8;
    case ValueType::kString:
    case ValueType::kArray: return 0;
  }
  return 0;
}

class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, std::string_view name) : bytes_(bytes), name_(name) {}

  std::size_t offset() const { return at_; }
  std::size_t left() const { return bytes_.size() - at_; }

  template <typename... Args>
  tl::unexpected<Error> error(fmt::format_string<Args...> format, Args&&... args) const {
    return fail(ErrorCode::kCorrupt, "{}: at offset {}: {}", name_, at_, fmt::format(format, std::forward<Args>(args)...));
  }

  template <typename T>
  Result<T> read(std::string_view field) {
    if (left() < sizeof(T)) {
      return error("the file ends inside {}", field);
    }
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }

  Result<std::string_view> read_string(std::string_view field, std::uint64_t max_bytes) {
    const auto size = TRY(read<std::uint64_t>(field));
    if (size > max_bytes || size > left()) {
      return error("{} claims {} bytes; {} are left and {} are allowed", field, size, left(), max_bytes);
    }
    const auto* text = reinterpret_cast<const char*>(bytes_.data() + at_);
    at_ += size;
    return std::string_view(text, size);
  }

 private:
  std::span<const std::byte> bytes_;
  std::string_view name_;
  std::size_t at_ = 0;
};

template <typename T, typename Wide>
Result<MetadataValue> read_as(Cursor& in, std::string_view key) {
  return MetadataValue(static_cast<Wide>(TRY(in.read<T>(key))));
}

template <typename T, typename Element>
Result<MetadataValue> read_elements(Cursor& in, std::string_view key, std::uint64_t count) {
  std::vector<Element> values;
  values.reserve(count);  // the caller checked count against the bytes left
  for (std::uint64_t i = 0; i < count; ++i) {
    values.push_back(static_cast<Element>(TRY(in.read<T>(key))));
  }
  return MetadataValue(std::move(values));
}

Result<MetadataValue> read_array(Cursor& in, std::string_view key) {
  const auto type = static_cast<ValueType>(TRY(in.read<std::uint32_t>(key)));
  const auto count = TRY(in.read<std::uint64_t>(key));
  const std::size_t least = type == ValueType::kString ? 8 : scalar_bytes(type);
  if (least == 0) {
    return in.error("array {} has element type {}, which is not a number, bool or string", key, static_cast<std::uint32_t>(type));
  }
  if (count > in.left() / least) {
    return in.error("array {} claims {} elements; {} bytes are left", key, count, in.left());
  }
  using I = std::int64_t;
  switch (type) {
    case ValueType::kU8: return read_elements<std::uint8_t, I>(in, key, count);
    case ValueType::kI8: return read_elements<std::int8_t, I>(in, key, count);
    case ValueType::kBool: return read_elements<std::uint8_t, I>(in, key, count);
    case ValueType::kU16: return read_elements<std::uint16_t, I>(in, key, count);
    case ValueType::kI16: return read_elements<std::int16_t, I>(in, key, count);
    case ValueType::kU32: return read_elements<std::uint32_t, I>(in, key, count);
    case ValueType::kI32: return read_elements<std::int32_t, I>(in, key, count);
    case ValueType::kU64: return read_elements<std::uint64_t, I>(in, key, count);
    case ValueType::kI64: return read_elements<std::int64_t, I>(in, key, count);
    case ValueType::kF32: return read_elements<float, float>(in, key, count);
    case ValueType::kF64: return read_elements<double, float>(in, key, count);
    case ValueType::kString: break;
    case ValueType::kArray: break;
  }
  std::vector<std::string> strings;
  strings.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    strings.emplace_back(TRY(in.read_string(key, std::numeric_limits<std::uint64_t>::max())));
  }
  return MetadataValue(std::move(strings));
}

Result<MetadataValue> read_value(Cursor& in, std::string_view key) {
  const auto type = static_cast<ValueType>(TRY(in.read<std::uint32_t>(key)));
  switch (type) {
    case ValueType::kU8: return read_as<std::uint8_t, std::int64_t>(in, key);
    case ValueType::kI8: return read_as<std::int8_t, std::int64_t>(in, key);
    case ValueType::kU16: return read_as<std::uint16_t, std::int64_t>(in, key);
    case ValueType::kI16: return read_as<std::int16_t, std::int64_t>(in, key);
    case ValueType::kU32: return read_as<std::uint32_t, std::int64_t>(in, key);
    case ValueType::kI32: return read_as<std::int32_t, std::int64_t>(in, key);
    case ValueType::kU64: return read_as<std::uint64_t, std::uint64_t>(in, key);
    case ValueType::kI64: return read_as<std::int64_t, std::int64_t>(in, key);
    case ValueType::kF32: return read_as<float, double>(in, key);
    case ValueType::kF64: return read_as<double, double>(in, key);
    case ValueType::kBool: {
      const auto value = TRY(in.read<std::uint8_t>(key));
      if (value > 1) {
        return in.error("{} is a bool with the value {}", key, value);
      }
      return MetadataValue(value == 1);
    }
    case ValueType::kString: return MetadataValue(std::string(TRY(in.read_string(key, std::numeric_limits<std::uint64_t>::max()))));
    case ValueType::kArray: return read_array(in, key);
  }
  return in.error("{} has the unknown value type {}", key, static_cast<std::uint32_t>(type));
}

struct TensorEntry {
  TensorView view;
  std::uint64_t offset = 0;  // from the start of the data section
  std::uint64_t bytes = 0;
};

// Multiplies, or fails on overflow of int64.
bool multiply(std::int64_t& product, std::int64_t factor) { return !__builtin_mul_overflow(product, factor, &product); }

Result<TensorEntry> read_tensor_entry(Cursor& in) {
  TensorEntry entry;
  entry.view.name = TRY(in.read_string("a tensor name", kMaxNameBytes));
  const std::string& name = entry.view.name;
  const auto dims = TRY(in.read<std::uint32_t>(name));
  if (dims < 1 || dims > 4) {
    return in.error("tensor {} has {} dimensions, expected 1 to 4", name, dims);
  }
  std::int64_t elems = 1;
  for (std::uint32_t d = 0; d < dims; ++d) {
    const auto size = TRY(in.read<std::int64_t>(name));
    if (size < 1 || !multiply(elems, size)) {
      return in.error("tensor {}: dimension {} is {}", name, d, size);
    }
    entry.view.shape.push_back(size);
  }
  const auto type_id = TRY(in.read<std::uint32_t>(name));
  const std::optional<DType> type = dtype_from_gguf(type_id);
  if (!type) {
    return fail(ErrorCode::kUnsupported, "tensor {} has type {} ({}), which is not supported", name, gguf_type_name(type_id), type_id);
  }
  entry.view.type = *type;
  entry.offset = TRY(in.read<std::uint64_t>(name));
  const DTypeTraits& t = traits(*type);
  if (entry.view.shape[0] % t.block_elems != 0) {
    return in.error("tensor {}: rows of {} elements are no multiple of {}'s block of {}", name, entry.view.shape[0], t.name, t.block_elems);
  }
  std::int64_t bytes = elems / t.block_elems;
  if (!multiply(bytes, t.block_bytes)) {
    return in.error("tensor {} is too large", name);
  }
  entry.bytes = static_cast<std::uint64_t>(bytes);
  return entry;
}

Result<void> read_metadata(Cursor& in, std::uint64_t count, Metadata& metadata) {
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::string key(TRY(in.read_string("a metadata key", kMaxKeyBytes)));
    if (metadata.find(key) != nullptr) {
      return in.error("metadata key {} appears twice", key);
    }
    metadata.set(key, TRY(read_value(in, key)));
  }
  return {};
}

Result<std::uint64_t> alignment_of(const Cursor& in, const Metadata& metadata) {
  const std::int64_t alignment = TRY(metadata.integer("general.alignment")).value_or(32);
  if (alignment < 1 || alignment > static_cast<std::int64_t>(kMaxAlignment) || !std::has_single_bit(static_cast<std::uint64_t>(alignment))) {
    return in.error("general.alignment is {}, expected a power of two up to {}", alignment, kMaxAlignment);
  }
  return static_cast<std::uint64_t>(alignment);
}

}  // namespace

Result<GgufContent> parse_gguf(std::span<const std::byte> bytes, std::string_view name) {
  Cursor in(bytes, name);
  const auto magic = TRY(in.read<std::uint32_t>("the magic number"));
  if (magic != 0x46554747U) {
    return fail(ErrorCode::kCorrupt, "{}: not a GGUF file (it starts with {:#010x})", name, magic);
  }
  const auto version = TRY(in.read<std::uint32_t>("the version"));
  if (version != 2 && version != 3) {
    const bool swapped = version == 0x02000000U || version == 0x03000000U;
    return fail(ErrorCode::kUnsupported, "{}: GGUF {}; versions 2 and 3, little-endian, are supported", name,
                swapped ? std::string("big-endian") : fmt::format("version {}", version));
  }
  const auto tensor_count = TRY(in.read<std::uint64_t>("the tensor count"));
  const auto metadata_count = TRY(in.read<std::uint64_t>("the metadata count"));
  if (tensor_count > kMaxEntries || metadata_count > kMaxEntries) {
    return in.error("{} tensors and {} metadata entries; at most {} are allowed", tensor_count, metadata_count, kMaxEntries);
  }
  GgufContent content;
  TRY_VOID(read_metadata(in, metadata_count, content.metadata));
  const std::uint64_t alignment = TRY(alignment_of(in, content.metadata));

  std::vector<TensorEntry> entries;
  for (std::uint64_t i = 0; i < tensor_count; ++i) {
    entries.push_back(TRY(read_tensor_entry(in)));
  }
  const std::uint64_t data_start = (in.offset() + alignment - 1) / alignment * alignment;
  std::unordered_set<std::string_view> names;
  for (const TensorEntry& entry : entries) {
    if (!names.insert(entry.view.name).second) {
      return in.error("tensor {} appears twice", entry.view.name);
    }
  }
  for (TensorEntry& entry : entries) {
    if (entry.offset % alignment != 0) {
      return in.error("tensor {}: offset {} is not aligned to {}", entry.view.name, entry.offset, alignment);
    }
    if (data_start > bytes.size() || entry.offset > bytes.size() - data_start || entry.bytes > bytes.size() - data_start - entry.offset) {
      return in.error("tensor {} needs {} bytes at {}, the file has {}", entry.view.name, entry.bytes, data_start + entry.offset, bytes.size());
    }
    entry.view.data = bytes.subspan(data_start + entry.offset, entry.bytes);
    content.tensors.push_back(std::move(entry.view));
  }
  return content;
}

}  // namespace edgewise::tensor
