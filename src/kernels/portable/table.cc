// The defined arithmetic in plain C++: the reference that every other instruction set equals bit for bit, and
// the fallback for machines without one.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/kernel_table.h"
#include "kernels/packed_layout.h"
#include "kernels/planes.h"
#include "kernels/portable/vector.h"
#include "kernels/tables.h"

namespace edgewise::kernels::portable {
namespace {

using tensor::DType;

constexpr int kTileRows = 4;

constexpr int tile_vectors(int) {
  return 1;
}

#include "kernels/generic/elementwise-inl.h"
#include "kernels/generic/quantize-inl.h"

// After the elementwise functions, which it uses.
#include "kernels/generic/attention-inl.h"
#include "kernels/generic/kv_store-inl.h"

float half_at(const std::byte* array, std::int64_t row) {
  std::uint16_t bits;
  std::memcpy(&bits, array + row * 2, 2);
  return tensor::f16_to_f32(bits);
}

unsigned byte_at(const std::byte* p) {
  return std::to_integer<unsigned>(*p);
}

// The stored unsigned code of (row, k) in a block.
template <DType type>
int code_at(const std::byte* block, std::int64_t row, std::int64_t k) {
  const std::int64_t g = k / 4;
  const std::int64_t lane = row * 4 + k % 4;
  const auto at = [&](std::int64_t vector) { return byte_at(block + vector * 64 + lane); };
  const auto nibble = [&] { return (byte_at(block + g % 4 * 64 + lane) >> (g / 4 * 4)) & 15U; };
  const auto pair = [&](const std::byte* p) {
    return (byte_at(p + g / 4 * 64 + lane) >> (g % 4 * 2)) & 3U;
  };
  const auto bit = [&](const std::byte* p) { return (byte_at(p + lane) >> g) & 1U; };
  unsigned code;
  using enum DType;
  if constexpr (type == kQ4_0 || type == kQ4_1 || type == kQ4_K) {
    code = nibble();
  } else if constexpr (type == kQ5_0 || type == kQ5_1 || type == kQ5_K) {
    if (g < 5) {
      code = at(g) & 31U;
    } else if (g < 7) {
      const std::int64_t first = g == 5 ? 0 : 2;
      code = at(first) >> 5U | (at(first + 1) >> 5U & 3U) << 3U;
    } else {
      code = at(4) >> 5U | at(1) >> 7U << 3U | at(3) >> 7U << 4U;
    }
  } else if constexpr (type == kQ6_K) {
    if (g < 6) {
      code = at(g) & 63U;
    } else {
      const std::int64_t first = g == 6 ? 0 : 3;
      code = at(first) >> 6U | at(first + 1) >> 6U << 2U | at(first + 2) >> 6U << 4U;
    }
  } else if constexpr (type == kQ8_0) {
    code = byte_at(block + g * 64 + lane);
  } else if constexpr (type == kQ2_K) {
    code = pair(block);
  } else if constexpr (type == kQ3_K) {
    code = pair(block) | bit(block + kPairs) << 2U;
  } else {
    code = kIq4Codes[nibble()];
  }
  return static_cast<int>(code);
}

// Integer scales of the two halves of block b of a unit, and minima where the type has them.
struct Scales {
  int scale[2] = {1, 1};
  int min[2] = {1, 1};
};

template <DType type>
Scales scales_at(const std::byte* unit, std::int64_t b, std::int64_t row) {
  constexpr PackedLayout kL = kLayout<type>;
  const auto low = [&](std::int64_t i) { return byte_at(unit + kL.low + i * 16 + row); };
  const auto high = [&](std::int64_t i) { return byte_at(unit + kL.high + i * 16 + row); };
  Scales s;
  using enum DType;
  if constexpr (type == kQ4_K || type == kQ5_K) {
    const unsigned upper = high(b / 2) >> (b % 2 * 4);
    s.scale[0] = s.scale[1] = static_cast<int>((low(b) & 15U) | (upper & 3U) << 4U);
    s.min[0] = s.min[1] = static_cast<int>(low(b) >> 4U | ((upper >> 2U) & 3U) << 4U);
  } else if constexpr (type == kQ6_K) {
    for (int h = 0; h < 2; ++h) {
      s.scale[h] = static_cast<std::int8_t>(low(2 * b + h));
    }
  } else if constexpr (type == kQ2_K) {
    for (int h = 0; h < 2; ++h) {
      s.scale[h] = static_cast<int>(low(2 * b + h) & 15U);
      s.min[h] = static_cast<int>(low(2 * b + h) >> 4U);
    }
  } else if constexpr (type == kQ3_K) {
    for (int h = 0; h < 2; ++h) {
      const unsigned upper = (high((2 * b + h) / 4) >> ((2 * b + h) % 4 * 2)) & 3U;
      s.scale[h] = static_cast<int>(((low(b) >> (4 * h)) & 15U) | upper << 4U) - 32;
    }
  } else if constexpr (type == kIQ4_XS) {
    const unsigned upper = (high(b / 4) >> (b % 4 * 2)) & 3U;
    s.scale[0] = s.scale[1] =
        static_cast<int>(((low(b / 2) >> (b % 2 * 4)) & 15U) | upper << 4U) - 32;
  }
  return s;
}

// One output: blocks ascending, integers exact inside a block, then one fused multiply-add for the scale and one
// for the minimum.
template <DType type>
float dot(const std::byte* panel,
          std::int64_t row,
          std::int64_t cols,
          const Activations& x,
          std::int64_t t) {
  constexpr PackedLayout kL = kLayout<type>;
  const std::int64_t per_unit = kL.unit_cols / kBlock;
  float acc = 0.0F;
  for (std::int64_t b = 0; b < cols / kBlock; ++b) {
    const std::byte* unit = panel + b / per_unit * kL.unit_bytes;
    const std::byte* block = unit + kL.blocks + b % per_unit * kL.block_bytes;
    const CodeBlock& token = x.row(t)[b];
    int half[2] = {0, 0};
    for (std::int64_t k = 0; k < kBlock; ++k) {
      half[k / 16] += code_at<type>(block, row, k) * token.codes[k];
    }
    for (int h = 0; h < 2; ++h) {
      half[h] -= kCodeBias<type> * token.half_sum(h);
    }
    const Scales s = scales_at<type>(unit, b % per_unit, row);
    const float d = half_at(unit, row);
    if constexpr (kHalfScales<type>) {
      acc = std::fma(static_cast<float>(s.scale[0] * half[0] + s.scale[1] * half[1]),
                     d * token.scale, acc);
      if constexpr (kL.dmin >= 0) {
        const int m = s.min[0] * token.half_sum(0) + s.min[1] * token.half_sum(1);
        acc = std::fma(-static_cast<float>(m), half_at(unit + kL.dmin, row) * token.scale, acc);
      }
    } else {
      acc = std::fma(static_cast<float>(half[0] + half[1]),
                     d * static_cast<float>(s.scale[0]) * token.scale, acc);
      if constexpr (kL.dmin >= 0) {
        const float m = half_at(unit + kL.dmin, row) * static_cast<float>(s.min[0]);
        acc = std::fma(kL.unit_cols == 32 ? m : -m, token.sum, acc);
      }
    }
  }
  return acc;
}

float float_weight(DType type, const std::byte* panel, std::int64_t index) {
  if (type == DType::kF32) {
    float value;
    std::memcpy(&value, panel + index * 4, 4);
    return value;
  }
  std::uint16_t bits;
  std::memcpy(&bits, panel + index * 2, 2);
  return type == DType::kF16 ? tensor::f16_to_f32(bits) : tensor::bf16_to_f32(bits);
}

// What the low plane has of column k of a row's block.
unsigned low_byte(const PackedMatrix& w, std::int64_t row, std::int64_t block, std::int64_t k) {
  return byte_at(w.low + low_word_offset(row, block, k % 16 / 4, w.cols / kBlock) + k % 4);
}

// The ordinary Q8_0 panel of both planes.
const std::byte* merge_panel(const PackedMatrix& w, std::int64_t panel, std::byte* out) {
  const std::int64_t blocks = w.cols / kBlock;
  const std::byte* scales = w.data + panel * high_panel_bytes(w.cols);
  const std::byte* high = scales + blocks * 32;
  for (std::int64_t b = 0; b < blocks; ++b) {
    std::byte* unit = out + b * kMergedBlockBytes;
    std::memcpy(unit, scales + b * 32, 32);
    for (std::int64_t row = 0; row < kPanelRows; ++row) {
      for (std::int64_t k = 0; k < kBlock; ++k) {
        const auto upper = static_cast<unsigned>(code_at<DType::kQ4_0>(high + b * 256, row, k));
        const unsigned both = low_byte(w, panel * kPanelRows + row, b, k);
        const unsigned code = upper << 4U | ((both >> (k / 16 * 4)) & 15U);
        unit[32 + k / 4 * 64 + row * 4 + k % 4] = static_cast<std::byte>(code);
      }
    }
  }
  return out;
}

// Twice the sums of a block: (32 * high nibble + 15 - 256) * code, for the two rows of x.
void high_dots(const std::byte* nibbles, const Activations& x, std::int64_t b, V out[2]) {
  for (std::int64_t t = 0; t < 2; ++t) {
    const std::int8_t* codes = x.row(t)[b].codes;
    float sums[kPanelRows];
    for (std::int64_t row = 0; row < kPanelRows; ++row) {
      int sum = 0;
      for (std::int64_t k = 0; k < kBlock; ++k) {
        sum += (32 * code_at<DType::kQ4_0>(nibbles, row, k) - 241) * codes[k];
      }
      sums[row] = static_cast<float>(sum);
    }
    out[t] = V::load(sums);
  }
}

float low_part(const PackedMatrix& w, std::int64_t row, const Activations& x) {
  const std::int64_t blocks = w.cols / kBlock;
  const std::byte* scales = w.data + row / kPanelRows * high_panel_bytes(w.cols);
  float total = 0.0F;
  for (std::int64_t b = 0; b < blocks; ++b) {
    const float d = half_at(scales + b * 32, row % kPanelRows);
    for (std::int64_t t = 0; t < 2; ++t) {
      const CodeBlock& token = x.row(t)[b];
      int sum = 0;
      for (std::int64_t k = 0; k < kBlock; ++k) {
        const unsigned both = low_byte(w, row, b, k);
        sum += (2 * static_cast<int>((both >> (k / 16 * 4)) & 15U) - 15) * token.codes[k];
      }
      total = std::fma(static_cast<float>(sum), d * (0.5F * token.scale), total);
    }
  }
  return total;
}

#include "kernels/generic/planes-inl.h"

void matmul(const PackedMatrix& w,
            std::int64_t panel_begin,
            std::int64_t panel_end,
            const Activations& x,
            float* y,
            std::int64_t y_stride,
            std::byte* scratch) {
  const std::byte* merged = nullptr;
  for (std::int64_t row = panel_begin * kPanelRows; row < std::min(panel_end * kPanelRows, w.rows);
       ++row) {
    const std::int64_t p = row / kPanelRows;
    if (w.low != nullptr && row % kPanelRows == 0) {
      merged = merge_panel(w, p, scratch);
    }
    const std::byte* panel = w.low != nullptr ? merged : w.data + p * panel_bytes(w.type, w.cols);
    for (std::int64_t t = 0; t < x.rows; ++t) {
      float& out = y[t * y_stride + row];
      const bool quantized = dispatch_quantized(
          w.type, [&]<DType type>() { out = dot<type>(panel, row % kPanelRows, w.cols, x, t); });
      if (!quantized) {
        float acc = 0.0F;
        for (std::int64_t k = 0; k < w.cols; ++k) {
          acc = std::fma(float_weight(w.type, panel, k * kPanelRows + row % kPanelRows),
                         x.values[t * w.cols + k], acc);
        }
        out = acc;
      }
    }
  }
}

#include "kernels/generic/table-inl.h"

}  // namespace

const KernelTable& table() {
  static constexpr KernelTable kTable = make_table("portable");
  return kTable;
}

}  // namespace edgewise::kernels::portable
