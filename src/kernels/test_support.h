// Random inputs for the kernel tests. Test-only.
#pragma once

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/kernel_table.h"
#include "tensor/dtype.h"

namespace edgewise::kernels::testing {

inline std::vector<float> random_floats(std::int64_t count, unsigned seed, float spread = 1.0F) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0.0F, spread);
  std::vector<float> out(static_cast<std::size_t>(count));
  for (float& x : out) {
    x = normal(rng);
  }
  return out;
}

// Where a block has 16-bit floats.
inline std::vector<std::int64_t> half_fields(tensor::DType type) {
  using enum tensor::DType;
  switch (type) {
    case kF32:
    case kF16:
    case kBF16:
      return {};
    case kQ4_1:
    case kQ5_1:
    case kQ4_K:
    case kQ5_K:
      return {0, 2};
    case kQ2_K:
      return {80, 82};
    case kQ3_K:
      return {108};
    case kQ6_K:
      return {208};
    default:
      return {0};
  }
}

// A row-major tensor of random blocks: any bytes are valid codes; the 16-bit float fields get moderate values.
inline std::vector<std::byte> random_blocks(tensor::DType type,
                                            std::int64_t rows,
                                            std::int64_t cols,
                                            unsigned seed) {
  using enum tensor::DType;
  std::mt19937 rng(seed);
  const tensor::DTypeTraits& traits = tensor::traits(type);
  std::vector<std::byte> raw(static_cast<std::size_t>(tensor::storage_bytes(type, rows * cols)));
  for (std::byte& b : raw) {
    b = static_cast<std::byte>(rng());
  }
  const std::vector<std::int64_t> halves = half_fields(type);
  std::normal_distribution<float> normal(0.0F, 0.05F);
  for (std::size_t at = 0; at + static_cast<std::size_t>(traits.block_bytes) <= raw.size();
       at += static_cast<std::size_t>(traits.block_bytes)) {
    for (const std::int64_t offset : halves) {
      const std::uint16_t half = tensor::f32_to_f16(normal(rng));
      std::memcpy(raw.data() + at + offset, &half, 2);
    }
    const float value = normal(rng);
    const std::uint16_t half = tensor::f32_to_f16(value);
    const auto bf16 = static_cast<std::uint16_t>(__builtin_bit_cast(std::uint32_t, value) >> 16U);
    if (type == kF32) {
      std::memcpy(raw.data() + at, &value, 4);
    } else if (type == kF16) {
      std::memcpy(raw.data() + at, &half, 2);
    } else if (type == kBF16) {
      std::memcpy(raw.data() + at, &bf16, 2);
    }
  }
  return raw;
}

// The same with every other byte `fill`: codes and integer scales at an end of their range.
inline std::vector<std::byte> uniform_blocks(tensor::DType type,
                                             std::int64_t rows,
                                             std::int64_t cols,
                                             std::byte fill) {
  std::vector<std::byte> raw = random_blocks(type, rows, cols, 3);
  const std::int64_t block_bytes = tensor::traits(type).block_bytes;
  const std::vector<std::int64_t> halves = half_fields(type);
  for (std::int64_t i = 0; i < std::ssize(raw); ++i) {
    const auto is_half = [&](std::int64_t at) { return at == i % block_bytes / 2 * 2; };
    if (std::ranges::none_of(halves, is_half)) {
      raw[static_cast<std::size_t>(i)] = fill;
    }
  }
  return raw;
}

}  // namespace edgewise::kernels::testing
