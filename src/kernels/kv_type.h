// How a cache stores keys and values (docs/arithmetic.md, "Attention"): as binary16, or as 8-bit codes with one
// binary32 scale for each position and head.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace edgewise::kernels {

enum class KvType { kF16, kQ8 };

constexpr std::string_view kv_type_name(KvType type) {
  return type == KvType::kQ8 ? "q8" : "f16";
}

constexpr std::optional<KvType> kv_type_of(std::string_view name) {
  for (const KvType type : {KvType::kF16, KvType::kQ8}) {
    if (kv_type_name(type) == name) {
      return type;
    }
  }
  return std::nullopt;
}

// Of one position of one head: its key and its value, with their scales.
constexpr std::int64_t kv_head_bytes(KvType type, std::int64_t head_dim, std::int64_t value_dim) {
  return type == KvType::kQ8 ? head_dim + value_dim + 2 * 4 : 2 * (head_dim + value_dim);
}

}  // namespace edgewise::kernels
