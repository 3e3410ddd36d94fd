// Element types of stored tensors, with GGUF's numbering, and their block sizes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace edgewise::tensor {

enum class DType : std::uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kIQ4_XS = 23,
  kBF16 = 30,
};

struct DTypeTraits {
  DType type;
  std::string_view name;     // "Q4_K"
  std::int64_t block_elems;  // elements that share scales: 1, 32 or 256
  std::int64_t block_bytes;
};

// Every supported type, in numbering order.
std::span<const DTypeTraits> all_dtypes();
std::optional<DType> dtype_from_gguf(std::uint32_t id);  // nullopt: not supported
std::string_view gguf_type_name(std::uint32_t id);       // also names the types we do not support
const DTypeTraits& traits(DType type);

// Bytes of `elems` elements; elems must be a multiple of the block.
std::int64_t storage_bytes(DType type, std::int64_t elems);

// Plain, obviously right dequantization of consecutive blocks: `out.size()` elements from `data`.
// The format definitions follow ggml's quantization blocks (ggml-common.h).
void dequantize(DType type, const std::byte* data, std::span<float> out);

float f16_to_f32(std::uint16_t half);
std::uint16_t f32_to_f16(float value);  // round to nearest even

inline float bf16_to_f32(std::uint16_t b) {
  return __builtin_bit_cast(float, std::uint32_t{b} << 16);
}

}  // namespace edgewise::tensor
