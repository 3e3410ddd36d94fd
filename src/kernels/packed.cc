// Packing moves 4-byte words: in every block format four neighbouring k of a row sit in one word (possibly
// as bit planes), and the packed layout wants exactly such words, transposed over 16 rows.
#include "kernels/packed.h"

#include <array>
#include <cstring>

#include "base/check.h"
#include "kernels/packed_layout.h"

namespace edgewise::kernels {
namespace {

using tensor::DType;

std::uint32_t word_at(const std::byte* p) {
  std::uint32_t word;
  std::memcpy(&word, p, 4);
  return word;
}

void put_word(std::byte* vector, std::int64_t row, std::uint32_t word) {
  std::memcpy(vector + row * 4, &word, 4);
}

void put_half(std::byte* array, std::int64_t row, const std::byte* f16) {
  std::memcpy(array + row * 2, f16, 2);
}

constexpr std::uint32_t kLowNibbles = 0x0f0f0f0fU;
constexpr std::uint32_t kLowTriples = 0x07070707U;
constexpr std::uint32_t kLowPairs = 0x03030303U;
constexpr std::uint32_t kLowBits = 0x01010101U;

// Nibbles that a 32-column format already stores as (k, k + 16) pairs: 16 bytes.
void put_paired_nibbles(const std::byte* qs, std::int64_t row, std::byte* block) {
  for (int v = 0; v < 4; ++v) {
    put_word(block + v * 64, row, word_at(qs + 4 * v));
  }
}

// Nibbles of 32 consecutive bytes, all low (shift 0) or all high (shift 4).
void put_nibbles(const std::byte* qs, int shift, std::int64_t row, std::byte* block) {
  for (int v = 0; v < 4; ++v) {
    const std::uint32_t first = (word_at(qs + 4 * v) >> shift) & kLowNibbles;
    const std::uint32_t second = (word_at(qs + 16 + 4 * v) >> shift) & kLowNibbles;
    put_word(block + v * 64, row, first | second << 4);
  }
}

// The codes of 32 columns, a word a group of four.
using Codes = std::array<std::uint32_t, 8>;

// Nibbles of 32 consecutive bytes at bit `shift`, and above them what `high_mask` leaves of another 32 at bit `high_shift`.
Codes codes_of(
    const std::byte* qs, int shift, const std::byte* qh, int high_shift, std::uint32_t high_mask) {
  Codes codes{};
  for (std::size_t g = 0; g < 8; ++g) {
    codes[g] = (word_at(qs + 4 * g) >> shift & kLowNibbles) |
               (word_at(qh + 4 * g) >> high_shift & high_mask) << 4;
  }
  return codes;
}

void put_sixes(const Codes& codes, std::int64_t row, std::byte* vectors) {
  for (std::size_t v = 0; v < 6; ++v) {
    const std::uint32_t spread = codes[v < 3 ? 6 : 7] >> (v % 3 * 2);
    put_word(vectors + v * 64, row, codes[v] | (spread & kLowPairs) << 6);
  }
}

// 2-bit codes of 32 consecutive bytes at bit `shift`.
void put_pairs(const std::byte* qs, int shift, std::int64_t row, std::byte* vectors) {
  for (int u = 0; u < 2; ++u) {
    std::uint32_t word = 0;
    for (int j = 0; j < 4; ++j) {
      word |= ((word_at(qs + 16 * u + 4 * j) >> shift) & kLowPairs) << (2 * j);
    }
    put_word(vectors + u * 64, row, word);
  }
}

// Bit `shift` of 32 consecutive bytes.
void put_bits(const std::byte* qh, int shift, std::int64_t row, std::byte* vector) {
  std::uint32_t word = 0;
  for (int g = 0; g < 8; ++g) {
    word |= ((word_at(qh + 4 * g) >> shift) & kLowBits) << g;
  }
  put_word(vector, row, word);
}

void put_fives(const Codes& codes, std::int64_t row, std::byte* vectors) {
  const auto bits = [&](std::size_t g, int from, std::uint32_t mask, int to) {
    return ((codes[g] >> from) & mask) << to;
  };
  const std::array<std::uint32_t, 5> upper = {
      bits(5, 0, kLowTriples, 5), bits(5, 3, kLowPairs, 5) | bits(7, 3, kLowBits, 7),
      bits(6, 0, kLowTriples, 5), bits(6, 3, kLowPairs, 5) | bits(7, 4, kLowBits, 7),
      bits(7, 0, kLowTriples, 5),
  };
  for (std::size_t v = 0; v < 5; ++v) {
    put_word(vectors + v * 64, row, codes[v] | upper[v]);
  }
}

// As a 32-column format stores them: nibbles as (k, k + 16) pairs, 16 bytes, and high bit k of one word.
Codes paired_fives(const std::byte* qs, std::uint32_t qh) {
  Codes codes{};
  for (std::size_t g = 0; g < 8; ++g) {
    const std::uint32_t low = word_at(qs + g % 4 * 4) >> (g / 4 * 4) & kLowNibbles;
    const std::uint32_t four = qh >> (4 * g) & 15U;
    codes[g] = low | (four * 0x00204081U & kLowBits) << 4;  // spreads 4 bits over 4 bytes
  }
  return codes;
}

// The 6-bit scales and minima of Q4_K and Q5_K.
void put_scales_k4(const std::byte* packed, std::int64_t row, std::byte* low, std::byte* high) {
  const auto* s = reinterpret_cast<const std::uint8_t*>(packed);
  for (int b = 0; b < 8; ++b) {
    unsigned scale;
    unsigned min;
    if (b < 4) {
      scale = s[b] & 63U;
      min = s[b + 4] & 63U;
    } else {
      scale = (s[b + 4] & 15U) | (s[b - 4] >> 6U) << 4U;
      min = static_cast<unsigned>(s[b + 4] >> 4U) | (s[b] >> 6U) << 4U;
    }
    low[b * 16 + row] = static_cast<std::byte>((scale & 15U) | (min & 15U) << 4U);
    const unsigned upper = (scale >> 4U) | (min >> 4U) << 2U;
    high[b / 2 * 16 + row] |= static_cast<std::byte>(upper << (b % 2 * 4));
  }
}

// The 6-bit scales of Q3_K.
void put_scales_k3(const std::byte* packed, std::int64_t row, std::byte* low, std::byte* high) {
  const auto* s = reinterpret_cast<const std::uint8_t*>(packed);
  for (int i = 0; i < 16; ++i) {
    const unsigned nibble = i < 8 ? s[i] & 15U : static_cast<unsigned>(s[i - 8] >> 4U);
    const unsigned upper = (static_cast<unsigned>(s[8 + i % 4]) >> (2 * (i / 4))) & 3U;
    low[i / 2 * 16 + row] |= static_cast<std::byte>(nibble << (i % 2 * 4));
    high[i / 4 * 16 + row] |= static_cast<std::byte>(upper << (i % 4 * 2));
  }
}

// One row's unit of `type` from its file form `in` into the zeroed unit `out`.
template <DType type>
void pack_row_unit(const std::byte* in, std::int64_t row, std::byte* out) {
  constexpr PackedLayout kL = kLayout<type>;
  std::byte* blocks = out + kL.blocks;
  std::byte* low = out + kL.low;
  std::byte* high = out + kL.high;
  const auto block = [&](int b) { return blocks + b * kL.block_bytes; };
  using enum DType;
  if constexpr (type == kQ4_0 || type == kIQ4_NL) {
    put_half(out, row, in);
    put_paired_nibbles(in + 2, row, blocks);
  } else if constexpr (type == kQ4_1) {
    put_half(out, row, in);
    put_half(out + kL.dmin, row, in + 2);
    put_paired_nibbles(in + 4, row, blocks);
  } else if constexpr (type == kQ5_0) {
    put_half(out, row, in);
    put_fives(paired_fives(in + 6, word_at(in + 2)), row, blocks);
  } else if constexpr (type == kQ5_1) {
    put_half(out, row, in);
    put_half(out + kL.dmin, row, in + 2);
    put_fives(paired_fives(in + 8, word_at(in + 4)), row, blocks);
  } else if constexpr (type == kQ8_0) {
    put_half(out, row, in);
    for (int g = 0; g < 8; ++g) {
      put_word(blocks + g * 64, row, word_at(in + 2 + 4 * g) ^ 0x80808080U);
    }
  } else if constexpr (type == kQ2_K) {  // scales[16] qs[64] d dmin
    for (int i = 0; i < 16; ++i) {
      low[i * 16 + row] = in[i];
    }
    put_half(out, row, in + 80);
    put_half(out + kL.dmin, row, in + 82);
    for (int b = 0; b < 8; ++b) {
      put_pairs(in + 16 + b / 4 * 32, b % 4 * 2, row, block(b));
    }
  } else if constexpr (type == kQ3_K) {  // hmask[32] qs[64] scales[12] d
    put_half(out, row, in + 108);
    put_scales_k3(in + 96, row, low, high);
    for (int b = 0; b < 8; ++b) {
      put_pairs(in + 32 + b / 4 * 32, b % 4 * 2, row, block(b));
      put_bits(in, b, row, block(b) + kPairs);
    }
  } else if constexpr (type == kQ4_K || type == kQ5_K) {  // d dmin scales[12] (qh[32]) qs[128]
    put_half(out, row, in);
    put_half(out + kL.dmin, row, in + 2);
    put_scales_k4(in + 4, row, low, high);
    const std::byte* qs = in + (type == kQ5_K ? 48 : 16);
    for (int b = 0; b < 8; ++b) {
      if constexpr (type == kQ5_K) {
        put_fives(codes_of(qs + b / 2 * 32, b % 2 * 4, in + 16, b, kLowBits), row, block(b));
      } else {
        put_nibbles(qs + b / 2 * 32, b % 2 * 4, row, block(b));
      }
    }
  } else if constexpr (type == kQ6_K) {  // ql[128] qh[64] scales[16] d
    put_half(out, row, in + 208);
    for (int i = 0; i < 16; ++i) {
      low[i * 16 + row] = in[192 + i];
    }
    for (int b = 0; b < 8; ++b) {
      const int half = b / 4;
      const int part = b % 4;
      put_sixes(codes_of(in + half * 64 + part % 2 * 32, part / 2 * 4, in + 128 + half * 32,
                         part * 2, kLowPairs),
                row, block(b));
    }
  } else {
    static_assert(type == kIQ4_XS);  // d scales_h scales_l[4] qs[128]
    put_half(out, row, in);
    const auto* s = reinterpret_cast<const std::uint8_t*>(in);
    const unsigned scales_h = s[2] | static_cast<unsigned>(s[3]) << 8U;
    for (int b = 0; b < 8; ++b) {
      const unsigned nibble = (static_cast<unsigned>(s[4 + b / 2]) >> (b % 2 * 4)) & 15U;
      low[b / 2 * 16 + row] |= static_cast<std::byte>(nibble << (b % 2 * 4));
      high[b / 4 * 16 + row] |= static_cast<std::byte>(((scales_h >> (2 * b)) & 3U) << (b % 4 * 2));
      put_paired_nibbles(in + 8 + 16 * b, row, block(b));
    }
  }
}

template <DType type>
void pack_quantized_panel(const std::byte* raw,
                          std::int64_t rows,
                          std::int64_t cols,
                          std::byte* out) {
  constexpr PackedLayout kL = kLayout<type>;
  const std::int64_t file_unit = tensor::storage_bytes(type, kL.unit_cols);
  const std::int64_t units = cols / kL.unit_cols;
  for (std::int64_t u = 0; u < units; ++u) {
    std::byte* unit = out + u * kL.unit_bytes;
    std::memset(unit, 0, static_cast<std::size_t>(kL.unit_bytes));
    for (std::int64_t row = 0; row < rows; ++row) {
      pack_row_unit<type>(raw + (row * units + u) * file_unit, row, unit);
    }
  }
}

void pack_float_panel(
    std::int64_t elem, const std::byte* raw, std::int64_t rows, std::int64_t cols, std::byte* out) {
  std::memset(out, 0, static_cast<std::size_t>(cols * kPanelRows * elem));
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t k = 0; k < cols; ++k) {
      std::memcpy(out + (k * kPanelRows + row) * elem, raw + (row * cols + k) * elem,
                  static_cast<std::size_t>(elem));
    }
  }
}

}  // namespace

std::int64_t panel_bytes(DType type, std::int64_t cols) {
  return tensor::storage_bytes(type, cols) * kPanelRows;
}

PackedMatrix rows_of(const PackedMatrix& whole, std::int64_t begin, std::int64_t end) {
  return {whole.type, end - begin, whole.cols,
          whole.data + begin / kPanelRows * panel_bytes(whole.type, whole.cols)};
}

std::int64_t packed_bytes(DType type, std::int64_t rows, std::int64_t cols) {
  return (rows + kPanelRows - 1) / kPanelRows * panel_bytes(type, cols);
}

void pack_panels(DType type,
                 std::span<const std::byte> raw,
                 std::int64_t rows,
                 std::int64_t cols,
                 std::int64_t panel_begin,
                 std::int64_t panel_end,
                 std::byte* out) {
  const std::int64_t row_bytes = tensor::storage_bytes(type, cols);
  CHECK(static_cast<std::int64_t>(raw.size()) == row_bytes * rows);
  for (std::int64_t panel = panel_begin; panel < panel_end; ++panel) {
    const std::byte* from = raw.data() + panel * kPanelRows * row_bytes;
    std::byte* to = out + panel * panel_bytes(type, cols);
    const std::int64_t here = std::min(kPanelRows, rows - panel * kPanelRows);
    const bool quantized =
        dispatch_quantized(type, [&]<DType t>() { pack_quantized_panel<t>(from, here, cols, to); });
    if (!quantized) {
      pack_float_panel(tensor::traits(type).block_bytes, from, here, cols, to);
    }
  }
}

}  // namespace edgewise::kernels
