// Matrix products for NEON, and the table: a panel's 16 rows as four registers of 4 rows x 4 columns. Included by each NEON table after
// its vector and its integer products:
//   arrange(w)                       reorders the 8 groups of 4 rows in place, for pairs of tokens
//   dot<type, n>(w, codes)           exact sums of n groups of 4 columns for one token; 4 rows
//   dot_pair<type, n>(w, a, b, out)  the same for two tokens, of arranged weights

using tensor::DType;

inline uint8x16_t load16(const std::byte* p) {
  return vld1q_u8(reinterpret_cast<const std::uint8_t*>(p));
}

inline int32x4_t load4(const std::byte* p) {
  std::uint32_t four;
  std::memcpy(&four, p, 4);
  return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(four)))));
}

inline float32x4_t halves(const std::byte* p) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(reinterpret_cast<const std::uint16_t*>(p))));
}

// Bit or pair `from` of each byte to bit `to`, under `mask`.
template <int from, int to>
inline uint8x16_t moved(uint8x16_t x, uint8x16_t mask) {
  if constexpr (from < to) {
    x = vshlq_n_u8(x, to - from);
  } else if constexpr (from > to) {
    x = vshrq_n_u8(x, from - to);
  }
  return vandq_u8(x, mask);
}

// The eight groups of 4 rows (`part` of a panel) of a block as signed codes, the bias taken off.
template <DType type>
inline void unpack(const std::byte* block, int part, int8x16_t w[8]) {
  using enum DType;
  block += part * 16;
  uint8x16_t u[8];
  if constexpr (type == kQ8_0) {
    for (int g = 0; g < 8; ++g) {
      u[g] = load16(block + g * 64);
    }
  } else if constexpr (type == kQ5_0 || type == kQ5_1 || type == kQ5_K) {
    uint8x16_t fives[5];
    for (int v = 0; v < 5; ++v) {
      fives[v] = load16(block + v * 64);
      u[v] = vandq_u8(fives[v], vdupq_n_u8(31));
    }
    const uint8x16_t next2 = vdupq_n_u8(0x18);
    u[5] = vorrq_u8(vshrq_n_u8(fives[0], 5), moved<5, 3>(fives[1], next2));
    u[6] = vorrq_u8(vshrq_n_u8(fives[2], 5), moved<5, 3>(fives[3], next2));
    const uint8x16_t fourth = moved<7, 3>(fives[1], vdupq_n_u8(8));
    const uint8x16_t fifth = moved<7, 4>(fives[3], vdupq_n_u8(16));
    u[7] = vorrq_u8(vshrq_n_u8(fives[4], 5), vorrq_u8(fourth, fifth));
  } else if constexpr (type == kQ6_K) {
    uint8x16_t sixes[6];
    for (int v = 0; v < 6; ++v) {
      sixes[v] = load16(block + v * 64);
      u[v] = vandq_u8(sixes[v], vdupq_n_u8(63));
    }
    for (int g = 6; g < 8; ++g) {
      const uint8x16_t* from = sixes + (g - 6) * 3;
      const uint8x16_t both =
          vorrq_u8(vshrq_n_u8(from[0], 6), moved<6, 2>(from[1], vdupq_n_u8(0x0c)));
      u[g] = vorrq_u8(both, moved<6, 4>(from[2], vdupq_n_u8(0x30)));
    }
  } else if constexpr (type == kQ2_K || type == kQ3_K) {
    const uint8x16_t low2 = vdupq_n_u8(3);
    for (int i = 0; i < 2; ++i) {
      const uint8x16_t pairs = load16(block + i * 64);
      u[4 * i] = vandq_u8(pairs, low2);
      u[4 * i + 1] = moved<2, 0>(pairs, low2);
      u[4 * i + 2] = moved<4, 0>(pairs, low2);
      u[4 * i + 3] = vshrq_n_u8(pairs, 6);
    }
  } else {
    const uint8x16_t low4 = vdupq_n_u8(15);
    for (int v = 0; v < 4; ++v) {
      const uint8x16_t nibbles = load16(block + v * 64);
      u[v] = vandq_u8(nibbles, low4);
      u[v + 4] = vshrq_n_u8(nibbles, 4);
    }
  }
  if constexpr (type == kQ3_K) {
    const uint8x16_t bits = load16(block + kPairs);
    const uint8x16_t mask = vdupq_n_u8(1 << 2);
    u[0] = vorrq_u8(u[0], moved<0, 2>(bits, mask));
    u[1] = vorrq_u8(u[1], moved<1, 2>(bits, mask));
    u[2] = vorrq_u8(u[2], moved<2, 2>(bits, mask));
    u[3] = vorrq_u8(u[3], moved<3, 2>(bits, mask));
    u[4] = vorrq_u8(u[4], moved<4, 2>(bits, mask));
    u[5] = vorrq_u8(u[5], moved<5, 2>(bits, mask));
    u[6] = vorrq_u8(u[6], moved<6, 2>(bits, mask));
    u[7] = vorrq_u8(u[7], moved<7, 2>(bits, mask));
  }
  if constexpr (type == kIQ4_NL || type == kIQ4_XS) {
    const uint8x16_t codes = vld1q_u8(kIq4Codes);
    for (int g = 0; g < 8; ++g) {
      u[g] = vqtbl1q_u8(codes, u[g]);
    }
  }
  for (int g = 0; g < 8; ++g) {
    w[g] = vreinterpretq_s8_u8(vsubq_u8(u[g], vdupq_n_u8(kCodeBias<type>)));
  }
}

// What turns a block's integer sums into floats, 4 rows wide.
struct BlockScales {
  float32x4_t scale;      // of the integer sum
  float32x4_t min;        // added times the activation sum (32-column scales)
  int32x4_t half[2];      // integer scales of half blocks
  int32x4_t half_min[2];  // integer minima of half blocks (Q2_K)
};

template <DType type>
inline BlockScales block_scales(
    const std::byte* unit, int b, int part, float32x4_t d, float32x4_t dmin) {
  constexpr PackedLayout kL = kLayout<type>;
  const auto low = [&](int i) { return load4(unit + kL.low + i * 16 + part * 4); };
  const auto high = [&](int i) { return load4(unit + kL.high + i * 16 + part * 4); };
  const auto right = [](int32x4_t x, int by) { return vshlq_s32(x, vdupq_n_s32(-by)); };
  const auto join = [](int32x4_t lo, int32x4_t hi) {
    return vorrq_s32(vandq_s32(lo, vdupq_n_s32(15)), vshlq_n_s32(vandq_s32(hi, vdupq_n_s32(3)), 4));
  };
  BlockScales s{};
  s.scale = d;
  using enum DType;
  if constexpr (type == kQ4_1 || type == kQ5_1) {
    s.min = dmin;
  } else if constexpr (type == kQ4_K || type == kQ5_K) {
    const int32x4_t lo = low(b);
    const int32x4_t hi = right(high(b / 2), b % 2 * 4);
    s.scale = vmulq_f32(d, vcvtq_f32_s32(join(lo, hi)));
    s.min = vnegq_f32(vmulq_f32(dmin, vcvtq_f32_s32(join(right(lo, 4), right(hi, 2)))));
  } else if constexpr (type == kQ6_K) {
    for (int h = 0; h < 2; ++h) {
      const int32x4_t bytes = low(2 * b + h);
      s.half[h] = vsubq_s32(veorq_s32(bytes, vdupq_n_s32(128)), vdupq_n_s32(128));  // sign extended
    }
  } else if constexpr (type == kQ2_K) {
    for (int h = 0; h < 2; ++h) {
      const int32x4_t lo = low(2 * b + h);
      s.half[h] = vandq_s32(lo, vdupq_n_s32(15));
      s.half_min[h] = right(lo, 4);
    }
    s.min = dmin;
  } else if constexpr (type == kQ3_K) {
    for (int h = 0; h < 2; ++h) {
      const int32x4_t scale =
          join(right(low(b), 4 * h), right(high((2 * b + h) / 4), (2 * b + h) % 4 * 2));
      s.half[h] = vsubq_s32(scale, vdupq_n_s32(32));
    }
  } else if constexpr (type == kIQ4_XS) {
    const int32x4_t scale = join(right(low(b / 2), b % 2 * 4), right(high(b / 4), b % 4 * 2));
    s.scale = vmulq_f32(d, vcvtq_f32_s32(vsubq_s32(scale, vdupq_n_s32(32))));
  }
  return s;
}

// A block's integer sums of one token: of the whole block in [0], or of its halves.
template <DType type>
inline float32x4_t add_sums(const int32x4_t sums[2],
                            const BlockScales& s,
                            const CodeBlock& x,
                            float32x4_t acc) {
  constexpr bool kHasMin = kLayout<type>.dmin >= 0;
  if constexpr (kHalfScales<type>) {
    const int32x4_t total = vmlaq_s32(vmulq_s32(sums[0], s.half[0]), sums[1], s.half[1]);
    acc = vfmaq_f32(acc, vcvtq_f32_s32(total), vmulq_n_f32(s.scale, x.scale));
    if constexpr (kHasMin) {
      const int32x4_t min =
          vmlaq_n_s32(vmulq_n_s32(s.half_min[0], x.half_sum(0)), s.half_min[1], x.half_sum(1));
      acc = vfmsq_f32(acc, vcvtq_f32_s32(min), vmulq_n_f32(s.min, x.scale));
    }
  } else {
    acc = vfmaq_f32(acc, vcvtq_f32_s32(sums[0]), vmulq_n_f32(s.scale, x.scale));
    if constexpr (kHasMin) {
      acc = vfmaq_n_f32(acc, s.min, x.sum);
    }
  }
  return acc;
}

template <DType type>
inline float32x4_t add_block(const int8x16_t w[8],
                             const BlockScales& s,
                             const CodeBlock& x,
                             float32x4_t acc) {
  int32x4_t sums[2] = {};
  if constexpr (kHalfScales<type>) {
    sums[0] = dot<type, 4>(w, x.codes);
    sums[1] = dot<type, 4>(w + 4, x.codes + 16);
  } else {
    sums[0] = dot<type, 8>(w, x.codes);
  }
  return add_sums<type>(sums, s, x, acc);
}

template <DType type>
inline void add_block_pair(const int8x16_t w[8],
                           const BlockScales& s,
                           const CodeBlock& x,
                           const CodeBlock& x2,
                           float32x4_t acc[2]) {
  int32x4_t pair[2][2];  // [half][token]
  if constexpr (kHalfScales<type>) {
    dot_pair<type, 4>(w, x.codes, x2.codes, pair[0]);
    dot_pair<type, 4>(w + 4, x.codes + 16, x2.codes + 16, pair[1]);
  } else {
    dot_pair<type, 8>(w, x.codes, x2.codes, pair[0]);
    pair[1][0] = pair[1][1] = vdupq_n_s32(0);
  }
  const int32x4_t first[2] = {pair[0][0], pair[1][0]};
  const int32x4_t second[2] = {pair[0][1], pair[1][1]};
  acc[0] = add_sums<type>(first, s, x, acc[0]);
  acc[1] = add_sums<type>(second, s, x2, acc[1]);
}

template <DType type>
inline BlockScales scales_of(const std::byte* unit, int b, int part) {
  constexpr PackedLayout kL = kLayout<type>;
  const float32x4_t d = halves(unit + part * 8);
  const float32x4_t dmin = kL.dmin >= 0 ? halves(unit + kL.dmin + part * 8) : vdupq_n_f32(0.0F);
  return block_scales<type>(unit, b, part, d, dmin);
}

// [block][scale, min][16 rows]
// Types whose scales take enough work to be unpacked once for a whole panel when several tiles of tokens use them.
template <DType type>
constexpr bool kHasScaleTable = kLayout<type>.unit_cols == 256 && !kHalfScales<type>;

static_assert(2 * kPanelRows * sizeof(float) <=
              sizeof(UnpackedBlock));  // a block's share of the scratch

template <DType type>
void fill_scale_table(const std::byte* panel, std::int64_t cols, float* table) {
  constexpr PackedLayout kL = kLayout<type>;
  constexpr int kPerUnit = static_cast<int>(kL.unit_cols / kBlock);
  for (std::int64_t b = 0; b < cols / kBlock; ++b, table += 32) {
    for (int part = 0; part < 4; ++part) {
      const BlockScales s = scales_of<type>(panel + b / kPerUnit * kL.unit_bytes,
                                            static_cast<int>(b % kPerUnit), part);
      vst1q_f32(table + part * 4, s.scale);
      vst1q_f32(table + 16 + part * 4, s.min);
    }
  }
}

inline void store_rows(float* y, const float* lanes, std::int64_t rows) {
  std::memcpy(y, lanes, static_cast<std::size_t>(std::min<std::int64_t>(rows, 16)) * 4);
}

// kTokens (1 or an even number) tokens from `t` against one panel. A block is unpacked once and used for all of them.
template <DType type, int kTokens, bool kFromTable = false>
void panel_tokens(const std::byte* panel,
                  const float* scale_table,
                  std::int64_t cols,
                  const Activations& x,
                  std::int64_t t,
                  float* y,
                  std::int64_t y_stride,
                  std::int64_t rows) {
  constexpr PackedLayout kL = kLayout<type>;
  constexpr int kPerUnit = static_cast<int>(kL.unit_cols / kBlock);
  constexpr int kParts =
      kTokens > 4 ? 2 : 4;  // in one pass: at most 16 accumulators of 32 registers
  float lanes[kTokens][16];
  for (int first = 0; first < 4; first += kParts) {
    float32x4_t acc[kParts][kTokens];
    for (auto& part : acc) {
      for (auto& a : part) {
        a = vdupq_n_f32(0.0F);
      }
    }
    for (std::int64_t b = 0; b < cols / kBlock; ++b) {
      const int i = static_cast<int>(b % kPerUnit);
      const std::byte* unit = panel + b / kPerUnit * kL.unit_bytes;
      const std::byte* block = unit + kL.blocks + i * kL.block_bytes;
      prefetch_ahead(block, kL.block_bytes + (i == 0 ? kL.blocks : 0));
#pragma GCC unroll 4
      for (int p = 0; p < kParts; ++p) {
        const int part = first + p;
        int8x16_t w[8];
        unpack<type>(block, part, w);
        BlockScales s;
        if constexpr (kFromTable) {
          s.scale = vld1q_f32(scale_table + b * 32 + part * 4);
          s.min = vld1q_f32(scale_table + b * 32 + 16 + part * 4);
        } else {
          s = scales_of<type>(unit, i, part);
        }
        if constexpr (kTokens == 1) {
          acc[p][0] = add_block<type>(w, s, x.row(t)[b], acc[p][0]);
        } else {
          arrange(w);
#pragma GCC unroll 8
          for (int j = 0; j < kTokens; j += 2) {
            add_block_pair<type>(w, s, x.row(t + j)[b], x.row(t + j + 1)[b], acc[p] + j);
          }
        }
      }
    }
    for (int p = 0; p < kParts; ++p) {
      for (int j = 0; j < kTokens; ++j) {
        vst1q_f32(lanes[j] + (first + p) * 4, acc[p][j]);
      }
    }
  }
  for (int j = 0; j < kTokens; ++j) {
    store_rows(y + (t + j) * y_stride, lanes[j], rows);
  }
}

template <DType type>
void quantized_panel(const std::byte* panel,
                     std::int64_t cols,
                     const Activations& x,
                     float* y,
                     std::int64_t y_stride,
                     std::int64_t rows,
                     std::byte* scratch) {
  std::int64_t t = 0;
  if constexpr (kHasScaleTable<type>) {
    if (x.rows >= 16) {
      auto* scale_table = reinterpret_cast<float*>(scratch);
      fill_scale_table<type>(panel, cols, scale_table);
      for (; t + 8 <= x.rows; t += 8) {
        panel_tokens<type, 8, true>(panel, scale_table, cols, x, t, y, y_stride, rows);
      }
    }
  }
  for (; t + 8 <= x.rows; t += 8) {
    panel_tokens<type, 8>(panel, nullptr, cols, x, t, y, y_stride, rows);
  }
  for (; t + 4 <= x.rows; t += 4) {
    panel_tokens<type, 4>(panel, nullptr, cols, x, t, y, y_stride, rows);
  }
  for (; t + 2 <= x.rows; t += 2) {
    panel_tokens<type, 2>(panel, nullptr, cols, x, t, y, y_stride, rows);
  }
  if (t < x.rows) {
    panel_tokens<type, 1>(panel, nullptr, cols, x, t, y, y_stride, rows);
  }
}

constexpr int kFloatTokens = 6;

// The ordinary Q8_0 panel of both planes.
const std::byte* merge_panel(const PackedMatrix& w, std::int64_t panel, std::byte* out) {
  const std::int64_t blocks = w.cols / kBlock;
  constexpr std::int64_t kGroupBlock = 4 * kLowBlockBytes;  // of 4 rows
  const std::byte* scales = w.data + panel * high_panel_bytes(w.cols);
  const std::byte* high = scales + blocks * 32;
  const std::byte* low = w.low + panel * kPanelRows * blocks * kLowBlockBytes;
  const uint8x16_t low4 = vdupq_n_u8(15);
  for (std::int64_t b = 0; b < blocks; ++b) {
    std::byte* unit = out + b * kMergedBlockBytes;
    std::memcpy(unit, scales + b * 32, 32);
    for (int part = 0; part < 4; ++part) {
      for (int v = 0; v < 4; ++v) {
        const uint8x16_t word = load16(low + (part * blocks + b) * kGroupBlock + v * 16);
        const uint8x16_t upper = load16(high + b * 256 + v * 64 + part * 16);
        const auto store = [&](int g, uint8x16_t codes) {
          vst1q_u8(reinterpret_cast<std::uint8_t*>(unit + 32 + g * 64 + part * 16), codes);
        };
        store(v, vorrq_u8(vshlq_n_u8(upper, 4), vandq_u8(word, low4)));
        store(v + 4, vorrq_u8(vbicq_u8(upper, low4), vshrq_n_u8(word, 4)));
      }
    }
  }
  return out;
}

inline bool multiply_planes(
    const PackedMatrix&, std::int64_t, const Activations&, float*, std::int64_t, std::int64_t) {
  return false;
}

// Twice the sums of a block: (32 * high nibble + 15 - 256) * code, for the two rows of x. Unpacked codes are 8 less
// than the nibble, so that 15 times the sum of the activations' codes is what is left.
inline void high_dots(const std::byte* nibbles, const Activations& x, std::int64_t b, V out[2]) {
  for (int part = 0; part < 4; ++part) {
    int8x16_t w[8];
    unpack<DType::kQ4_0>(nibbles, part, w);
    for (std::int64_t t = 0; t < 2; ++t) {
      const CodeBlock& token = x.row(t)[b];
      const int32x4_t sum = dot<DType::kQ4_0, 8>(w, token.codes);
      const std::int32_t rest = 15 * (token.half_sum(0) + token.half_sum(1));
      out[t].q[part] = vcvtq_f32_s32(vaddq_s32(vshlq_n_s32(sum, 5), vdupq_n_s32(rest)));
    }
  }
}

inline std::int32_t nibble_dot(uint8x16_t nibbles, const std::int8_t* codes) {
  const int8x16_t x = vld1q_s8(codes);
  const int8x16_t w = vreinterpretq_s8_u8(nibbles);
  int16x8_t sums = vmull_s8(vget_low_s8(w), vget_low_s8(x));
  sums = vmlal_s8(sums, vget_high_s8(w), vget_high_s8(x));
  return vaddlvq_s16(sums);
}

// One row of the low plane.
inline float low_part(const PackedMatrix& w, std::int64_t row, const Activations& x) {
  const std::int64_t blocks = w.cols / kBlock;
  const std::byte* scales = w.data + row / kPanelRows * high_panel_bytes(w.cols);
  float total = 0.0F;
  for (std::int64_t b = 0; b < blocks; ++b) {
    std::byte bytes[kLowBlockBytes];
    for (std::int64_t word = 0; word < 4; ++word) {
      std::memcpy(bytes + word * 4, w.low + low_word_offset(row, b, word, blocks), 4);
    }
    const uint8x16_t both = load16(bytes);
    std::uint16_t half;
    std::memcpy(&half, scales + b * 32 + row % kPanelRows * 2, 2);
    const float d = tensor::f16_to_f32(half);
    for (std::int64_t t = 0; t < 2; ++t) {
      const CodeBlock& token = x.row(t)[b];
      const std::int32_t sum = nibble_dot(vandq_u8(both, vdupq_n_u8(15)), token.codes) +
                               nibble_dot(vshrq_n_u8(both, 4), token.codes + 16);
      const std::int32_t twice = 2 * sum - 15 * (token.half_sum(0) + token.half_sum(1));
      total = std::fma(static_cast<float>(twice), d * (0.5F * token.scale), total);
    }
  }
  return total;
}

#include "kernels/generic/matmul-inl.h"
#include "kernels/generic/planes-inl.h"

// After all functions of the table.
#include "kernels/generic/table-inl.h"
