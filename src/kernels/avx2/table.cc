// AVX2 with FMA: a panel's 16 rows as two registers of 8 rows x 4 columns. vpmaddubsw adds pairs of products in
// 16 bits; codes of at most 4, 5 and 6 bits leave room for 8, 4 and 2 of them before widening (31 * 127 * 2 * 4
// = 31,496 < 32,768), and 8-bit codes are multiplied as |w| * sign(w) x.
#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/kernel_table.h"
#include "kernels/packed_layout.h"
#include "kernels/planes.h"
#include "kernels/tables.h"
#include "kernels/target.h"

TARGET_BEGIN("avx2,fma,f16c")

namespace edgewise::kernels::avx2 {
namespace {

using tensor::DType;

struct V {
  __m256 lo, hi;

  static V load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }

  static V set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }

  static V load_f16(const std::uint16_t* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
            _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
  }

  static V load_codes(const std::int8_t* p) {
    const auto eight = [](const std::int8_t* at) {
      return _mm256_cvtepi32_ps(
          _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at))));
    };
    return {eight(p), eight(p + 8)};
  }

  static V add(V a, V b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }

  static V sub(V a, V b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }

  static V mul(V a, V b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }

  static V div(V a, V b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }

  static V fma(V a, V b, V c) {
    return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
  }

  static V max(V a, V b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }

  static V min(V a, V b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }

  static V abs(V a) {
    const __m256 sign = _mm256_set1_ps(-0.0F);
    return {_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
  }

  static V zero_where_less(V x, V bound, V value) {
    return {_mm256_and_ps(_mm256_cmp_ps(x.lo, bound.lo, _CMP_NLT_UQ), value.lo),
            _mm256_and_ps(_mm256_cmp_ps(x.hi, bound.hi, _CMP_NLT_UQ), value.hi)};
  }

  static __m256 exp2_bits(__m256 t) {
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(t), 23),
                                                _mm256_set1_epi32(0x3f800000)));
  }

  static V exp2_bits(V t) { return {exp2_bits(t.lo), exp2_bits(t.hi)}; }

  void store(float* p) const {
    _mm256_storeu_ps(p, lo);
    _mm256_storeu_ps(p + 8, hi);
  }

  void store_f16(std::uint16_t* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm256_cvtps_ph(lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8),
                     _mm256_cvtps_ph(hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }

  int store_codes(std::int8_t* p) const {
    const __m256i words = _mm256_permute4x64_epi64(
        _mm256_packs_epi32(_mm256_cvtps_epi32(lo), _mm256_cvtps_epi32(hi)), 0xd8);
    const __m128i codes =
        _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), codes);
    const __m256i wide = _mm256_madd_epi16(_mm256_cvtepi8_epi16(codes), _mm256_set1_epi16(1));
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
  }

  template <int kStride>
  V exchanged() const {
    if constexpr (kStride == 1) {
      return {_mm256_permute_ps(lo, 0xb1), _mm256_permute_ps(hi, 0xb1)};
    } else if constexpr (kStride == 2) {
      return {_mm256_permute_ps(lo, 0x4e), _mm256_permute_ps(hi, 0x4e)};
    } else if constexpr (kStride == 4) {
      return {_mm256_permute2f128_ps(lo, lo, 1), _mm256_permute2f128_ps(hi, hi, 1)};
    } else {
      return {hi, lo};
    }
  }

  float sum() const {
    const __m256 h = _mm256_add_ps(lo, hi);
    const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps(d, d, 1)));
  }

  float highest() const {
    const __m256 h = _mm256_max_ps(lo, hi);
    const __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    const __m128 d = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(d, _mm_shuffle_ps(d, d, 1)));
  }
};

// 6 rows x 1 vector (2 registers) = 12 accumulators of 16 registers; fewer rows take more vectors.
constexpr int kTileRows = 6;

constexpr int tile_vectors(int rows) {
  return rows == 1 ? 4 : rows <= 3 ? 2 : 1;
}

#include "kernels/generic/elementwise-inl.h"

// After the elementwise functions, which it uses.
#include "kernels/generic/attention-inl.h"

__m256i load32(const std::byte* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

__m256i load8(const std::byte* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}

__m256 halves(const std::byte* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

template <int from, int to>
__m256i shift_bits(__m256i x) {
  if constexpr (from < to) {
    return _mm256_slli_epi16(x, to - from);
  } else {
    return _mm256_srli_epi16(x, from - to);
  }
}

__m256i or_masked(__m256i a, __m256i b, __m256i mask) {
  return _mm256_or_si256(a, _mm256_and_si256(b, mask));
}

template <DType type>
constexpr bool kHalfScales = type == DType::kQ2_K || type == DType::kQ3_K || type == DType::kQ6_K;
template <DType type>
constexpr bool kSigned8 = type == DType::kQ8_0 || type == DType::kIQ4_NL || type == DType::kIQ4_XS;
// Groups whose pair products fit 16 bits together.
template <DType type>
constexpr int kGroupsPerSum =
    kSigned8<type>                                                         ? 1
    : type == DType::kQ6_K                                                 ? 2
    : type == DType::kQ5_0 || type == DType::kQ5_1 || type == DType::kQ5_K ? 4
    : kHalfScales<type>                                                    ? 4
                                                                           : 8;

// The eight groups of 8 rows (`half` of a panel) of a block; signed codes for the 8-bit types, else unsigned.
template <DType type>
inline void unpack(const std::byte* block, int half, __m256i w[8]) {
  using enum DType;
  block += half * 32;
  if constexpr (type == kQ8_0) {
    for (int g = 0; g < 8; ++g) {
      w[g] = _mm256_xor_si256(load32(block + g * 64), _mm256_set1_epi8(static_cast<char>(0x80)));
    }
    return;
  }
  if constexpr (type == kQ2_K || type == kQ3_K) {
    const __m256i low2 = _mm256_set1_epi8(3);
    for (int u = 0; u < 2; ++u) {
      const __m256i pairs = load32(block + u * 64);
      w[4 * u] = _mm256_and_si256(pairs, low2);
      w[4 * u + 1] = _mm256_and_si256(_mm256_srli_epi16(pairs, 2), low2);
      w[4 * u + 2] = _mm256_and_si256(_mm256_srli_epi16(pairs, 4), low2);
      w[4 * u + 3] = _mm256_and_si256(_mm256_srli_epi16(pairs, 6), low2);
    }
  } else {
    const __m256i low4 = _mm256_set1_epi8(15);
    for (int v = 0; v < 4; ++v) {
      const __m256i nibbles = load32(block + v * 64);
      w[v] = _mm256_and_si256(nibbles, low4);
      w[v + 4] = _mm256_and_si256(_mm256_srli_epi16(nibbles, 4), low4);
    }
  }
  if constexpr (type == kQ5_0 || type == kQ5_1 || type == kQ5_K || type == kQ3_K) {
    constexpr int kTo = type == kQ3_K ? 2 : 4;
    const __m256i bits = load32(block + (type == kQ3_K ? kPairs : kNibbles));
    const __m256i mask = _mm256_set1_epi8(1 << kTo);
    w[0] = or_masked(w[0], shift_bits<0, kTo>(bits), mask);
    w[1] = or_masked(w[1], shift_bits<1, kTo>(bits), mask);
    w[2] = or_masked(w[2], shift_bits<2, kTo>(bits), mask);
    w[3] = or_masked(w[3], shift_bits<3, kTo>(bits), mask);
    w[4] = or_masked(w[4], shift_bits<4, kTo>(bits), mask);
    w[5] = or_masked(w[5], shift_bits<5, kTo>(bits), mask);
    w[6] = or_masked(w[6], shift_bits<6, kTo>(bits), mask);
    w[7] = or_masked(w[7], shift_bits<7, kTo>(bits), mask);
  }
  if constexpr (type == kQ6_K) {
    const __m256i mask = _mm256_set1_epi8(0x30);
    for (int u = 0; u < 2; ++u) {
      const __m256i pairs = load32(block + kNibbles + u * 64);
      w[4 * u] = or_masked(w[4 * u], shift_bits<0, 4>(pairs), mask);
      w[4 * u + 1] = or_masked(w[4 * u + 1], shift_bits<2, 4>(pairs), mask);
      w[4 * u + 2] = or_masked(w[4 * u + 2], pairs, mask);
      w[4 * u + 3] = or_masked(w[4 * u + 3], shift_bits<6, 4>(pairs), mask);
    }
  }
  if constexpr (type == kIQ4_NL || type == kIQ4_XS) {
    const __m256i codes = _mm256_xor_si256(
        _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(kIq4Codes))),
        _mm256_set1_epi8(static_cast<char>(0x80)));
    for (int g = 0; g < 8; ++g) {
      w[g] = _mm256_shuffle_epi8(codes, w[g]);
    }
  }
}

struct BlockScales {
  __m256 scale, min;
  __m256i half[2], half_min[2];
  __m256i bias;  // -kCodeBias * half[0] and [1] as 16-bit pairs: times the pair of half sums
};

template <DType type>
inline BlockScales block_scales(const std::byte* unit, int b, int part, __m256 d, __m256 dmin) {
  constexpr PackedLayout kL = kLayout<type>;
  const auto low = [&](int i) { return load8(unit + kL.low + i * 16 + part * 8); };
  const auto high = [&](int i) { return load8(unit + kL.high + i * 16 + part * 8); };
  const auto shifted = [](__m256i x, int by) { return _mm256_srl_epi32(x, _mm_cvtsi32_si128(by)); };
  const __m256i c15 = _mm256_set1_epi32(15);
  const __m256i c3 = _mm256_set1_epi32(3);
  const auto join = [&](__m256i lo, __m256i hi) {
    return _mm256_or_si256(_mm256_and_si256(lo, c15),
                           _mm256_slli_epi32(_mm256_and_si256(hi, c3), 4));
  };
  BlockScales s{};
  s.scale = d;
  using enum DType;
  if constexpr (type == kQ4_1 || type == kQ5_1) {
    s.min = dmin;
  } else if constexpr (type == kQ4_K || type == kQ5_K) {
    const __m256i lo = low(b);
    const __m256i hi = shifted(high(b / 2), b % 2 * 4);
    s.scale = _mm256_mul_ps(d, _mm256_cvtepi32_ps(join(lo, hi)));
    s.min = _mm256_sub_ps(_mm256_setzero_ps(),
                          _mm256_mul_ps(dmin, _mm256_cvtepi32_ps(join(_mm256_srli_epi32(lo, 4),
                                                                      _mm256_srli_epi32(hi, 2)))));
  } else if constexpr (type == kQ6_K) {
    for (int h = 0; h < 2; ++h) {
      s.half[h] = _mm256_cvtepi8_epi32(_mm_loadl_epi64(
          reinterpret_cast<const __m128i*>(unit + kL.low + (2 * b + h) * 16 + part * 8)));
    }
  } else if constexpr (type == kQ2_K) {
    for (int h = 0; h < 2; ++h) {
      const __m256i lo = low(2 * b + h);
      s.half[h] = _mm256_and_si256(lo, c15);
      s.half_min[h] = _mm256_srli_epi32(lo, 4);
    }
    s.min = dmin;
  } else if constexpr (type == kQ3_K) {
    for (int h = 0; h < 2; ++h) {
      const __m256i scale =
          join(shifted(low(b), 4 * h), shifted(high((2 * b + h) / 4), (2 * b + h) % 4 * 2));
      s.half[h] = _mm256_sub_epi32(scale, _mm256_set1_epi32(32));
    }
  } else if constexpr (type == kIQ4_XS) {
    const __m256i scale = join(shifted(low(b / 2), b % 2 * 4), shifted(high(b / 4), b % 4 * 2));
    s.scale = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_sub_epi32(scale, _mm256_set1_epi32(32))));
  }
  if constexpr (kHalfScales<type> && kCodeBias<type> != 0) {
    const __m256i pair = _mm256_blend_epi16(s.half[0], _mm256_slli_epi32(s.half[1], 16), 0xaa);
    s.bias = _mm256_mullo_epi16(pair, _mm256_set1_epi16(-kCodeBias<type>));
  }
  return s;
}

__m256i broadcast_pair(const std::int16_t* pair) {
  std::int32_t both;
  std::memcpy(&both, pair, 4);
  return _mm256_set1_epi32(both);
}

__m256i broadcast_codes(const std::int8_t* codes) {
  std::int32_t four;
  std::memcpy(&four, codes, 4);
  return _mm256_set1_epi32(four);
}

// Exact integer products of groups [begin, begin + count) with one token's codes, 8 rows.
template <DType type, int count>
inline __m256i dot_groups(const __m256i* w, const std::int8_t* codes) {
  const __m256i one = _mm256_set1_epi16(1);
  __m256i total = _mm256_setzero_si256();
  for (int g = 0; g < count; g += kGroupsPerSum<type>) {
    __m256i pairs = _mm256_setzero_si256();
    for (int i = g; i < g + kGroupsPerSum<type>; ++i) {
      const __m256i x = broadcast_codes(codes + 4 * i);
      const __m256i product =
          kSigned8<type> ? _mm256_maddubs_epi16(_mm256_abs_epi8(w[i]), _mm256_sign_epi8(x, w[i]))
                         : _mm256_maddubs_epi16(w[i], x);
      pairs = i == g ? product : _mm256_add_epi16(pairs, product);
    }
    total = _mm256_add_epi32(total, _mm256_madd_epi16(pairs, one));
  }
  return total;
}

template <DType type>
inline __m256 add_block(const __m256i w[8],
                        const BlockScales& s,
                        const CodeBlock& token,
                        __m256 acc) {
  constexpr bool kHasMin = kLayout<type>.dmin >= 0;
  constexpr int kBias = kSigned8<type> ? 0 : kCodeBias<type>;
  if constexpr (kHalfScales<type>) {
    __m256i total = _mm256_setzero_si256();
    for (int h = 0; h < 2; ++h) {
      const __m256i sum = dot_groups<type, 4>(w + 4 * h, token.codes + 16 * h);
      total = _mm256_add_epi32(total, _mm256_mullo_epi32(sum, s.half[h]));
    }
    if constexpr (kBias != 0) {
      total = _mm256_add_epi32(total, _mm256_madd_epi16(s.bias, broadcast_pair(token.half_sums)));
    }
    const __m256 scale = _mm256_set1_ps(token.scale);
    acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(total), _mm256_mul_ps(s.scale, scale), acc);
    if constexpr (kHasMin) {
      const __m256i min = _mm256_add_epi32(
          _mm256_mullo_epi32(s.half_min[0], _mm256_set1_epi32(token.half_sums[0])),
          _mm256_mullo_epi32(s.half_min[1], _mm256_set1_epi32(token.half_sums[1])));
      acc = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(min), _mm256_mul_ps(s.min, scale), acc);
    }
    return acc;
  } else {
    __m256i sum = dot_groups<type, 8>(w, token.codes);
    if constexpr (kBias != 0) {
      sum = _mm256_sub_epi32(sum,
                             _mm256_set1_epi32(kBias * (token.half_sums[0] + token.half_sums[1])));
    }
    acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum),
                          _mm256_mul_ps(s.scale, _mm256_set1_ps(token.scale)), acc);
    if constexpr (kHasMin) {
      acc = _mm256_fmadd_ps(s.min, _mm256_set1_ps(token.sum), acc);
    }
    return acc;
  }
}

void store_rows(float* y, __m256 v, std::int64_t rows) {
  if (rows >= 8) {
    _mm256_storeu_ps(y, v);
  } else if (rows > 0) {
    float lanes[8];
    _mm256_storeu_ps(lanes, v);
    std::memcpy(y, lanes, static_cast<std::size_t>(rows) * 4);
  }
}

// Types whose scales take enough work to be unpacked once for a whole panel when several tiles of tokens use them.
template <DType type>
constexpr bool kHasScaleTable = kLayout<type>.unit_cols == 256 && !kHalfScales<type>;

// [block][scale, min][16 rows]
template <DType type>
void fill_scale_table(const std::byte* panel, std::int64_t cols, float* table) {
  constexpr PackedLayout kL = kLayout<type>;
  constexpr int kPerUnit = static_cast<int>(kL.unit_cols / kBlock);
  for (std::int64_t b = 0; b < cols / kBlock; ++b, table += 32) {
    const std::byte* unit = panel + b / kPerUnit * kL.unit_bytes;
    for (int half = 0; half < 2; ++half) {
      const __m256 d = halves(unit + half * 16);
      const __m256 dmin = kL.dmin >= 0 ? halves(unit + kL.dmin + half * 16) : _mm256_setzero_ps();
      const BlockScales s = block_scales<type>(unit, static_cast<int>(b % kPerUnit), half, d, dmin);
      _mm256_storeu_ps(table + half * 8, s.scale);
      _mm256_storeu_ps(table + 16 + half * 8, s.min);
    }
  }
}

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
  constexpr std::int64_t kPrefetchBytes = 2048;
  __m256 acc[2][kTokens];
  for (auto& half : acc) {
    for (auto& a : half) {
      a = _mm256_setzero_ps();
    }
  }
  for (int j = 0; j < kTokens; ++j) {
    __builtin_prefetch(y + (t + j) * y_stride, 1);
  }
  for (std::int64_t u = 0; u < cols / kL.unit_cols; ++u) {
    const std::byte* unit = panel + u * kL.unit_bytes;
    for (int i = 0; i < kPerUnit; ++i) {
      const std::byte* block = unit + kL.blocks + i * kL.block_bytes;
      for (std::int64_t line = 0; line < kL.block_bytes + (i == 0 ? kL.blocks : 0); line += 64) {
        _mm_prefetch(block + kPrefetchBytes + line, _MM_HINT_T0);
      }
      const std::int64_t b = u * kPerUnit + i;
      for (int half = 0; half < 2; ++half) {
        __m256i w[8];
        unpack<type>(block, half, w);
        BlockScales s;
        if constexpr (kFromTable) {
          s.scale = _mm256_loadu_ps(scale_table + b * 32 + half * 8);
          s.min = _mm256_loadu_ps(scale_table + b * 32 + 16 + half * 8);
        } else {
          const __m256 d = halves(unit + half * 16);
          const __m256 dmin =
              kL.dmin >= 0 ? halves(unit + kL.dmin + half * 16) : _mm256_setzero_ps();
          s = block_scales<type>(unit, i, half, d, dmin);
        }
#pragma GCC unroll 16
        for (int j = 0; j < kTokens; ++j) {
          acc[half][j] = add_block<type>(w, s, x.row(t + j)[b], acc[half][j]);
        }
      }
    }
  }
  for (int j = 0; j < kTokens; ++j) {
    store_rows(y + (t + j) * y_stride, acc[0][j], rows);
    store_rows(y + (t + j) * y_stride + 8, acc[1][j], rows - 8);
  }
}

template <DType type>
void quantized_panel(const std::byte* panel,
                     std::int64_t cols,
                     const Activations& x,
                     float* y,
                     std::int64_t y_stride,
                     std::int64_t rows,
                     float* scale_table) {
  std::int64_t t = 0;
  if constexpr (kHasScaleTable<type>) {
    if (x.rows >= 8) {
      fill_scale_table<type>(panel, cols, scale_table);
      for (; t + 4 <= x.rows; t += 4) {
        panel_tokens<type, 4, true>(panel, scale_table, cols, x, t, y, y_stride, rows);
      }
    }
  }
  for (; t + 4 <= x.rows; t += 4) {
    panel_tokens<type, 4>(panel, nullptr, cols, x, t, y, y_stride, rows);
  }
  switch (x.rows - t) {
    case 3:
      panel_tokens<type, 3>(panel, nullptr, cols, x, t, y, y_stride, rows);
      break;
    case 2:
      panel_tokens<type, 2>(panel, nullptr, cols, x, t, y, y_stride, rows);
      break;
    case 1:
      panel_tokens<type, 1>(panel, nullptr, cols, x, t, y, y_stride, rows);
      break;
    default:
      break;
  }
}

template <DType type>
V float_weights(const std::byte* panel, std::int64_t k) {
  if constexpr (type == DType::kF32) {
    return {_mm256_loadu_ps(reinterpret_cast<const float*>(panel + k * 64)),
            _mm256_loadu_ps(reinterpret_cast<const float*>(panel + k * 64 + 32))};
  } else if constexpr (type == DType::kF16) {
    return {halves(panel + k * 32), halves(panel + k * 32 + 16)};
  } else {
    const auto wide = [&](const std::byte* p) {
      return _mm256_castsi256_ps(_mm256_slli_epi32(
          _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
    };
    return {wide(panel + k * 32), wide(panel + k * 32 + 16)};
  }
}

constexpr int kFloatTokens = 6;

template <DType type, int kTokens>
void float_tokens(const std::byte* panel,
                  std::int64_t cols,
                  const float* x,
                  float* y,
                  std::int64_t y_stride,
                  std::int64_t rows) {
  V acc[kTokens];
  for (auto& a : acc) {
    a = V::set1(0.0F);
  }
  for (std::int64_t k = 0; k < cols; ++k) {
    const V w = float_weights<type>(panel, k);
#pragma GCC unroll 16
    for (int j = 0; j < kTokens; ++j) {
      acc[j] = V::fma(w, V::set1(x[j * cols + k]), acc[j]);
    }
  }
  for (int j = 0; j < kTokens; ++j) {
    store_rows(y + j * y_stride, acc[j].lo, rows);
    store_rows(y + j * y_stride + 8, acc[j].hi, rows - 8);
  }
}

// Four words of 8 rows `stride` bytes apart, transposed: vector v has word v of each row.
inline void load_words(const std::byte* rows, std::int64_t stride, __m256i words[4]) {
  const auto load16 = [&](std::int64_t row) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows + row * stride));
  };
  __m256i r[4];  // lane l of r[j] is row 4 l + j
  for (int j = 0; j < 4; ++j) {
    r[j] = _mm256_inserti128_si256(_mm256_castsi128_si256(load16(j)), load16(4 + j), 1);
  }
  const __m256i low01 = _mm256_unpacklo_epi32(r[0], r[1]);
  const __m256i low23 = _mm256_unpacklo_epi32(r[2], r[3]);
  const __m256i high01 = _mm256_unpackhi_epi32(r[0], r[1]);
  const __m256i high23 = _mm256_unpackhi_epi32(r[2], r[3]);
  words[0] = _mm256_unpacklo_epi64(low01, low23);
  words[1] = _mm256_unpackhi_epi64(low01, low23);
  words[2] = _mm256_unpacklo_epi64(high01, high23);
  words[3] = _mm256_unpackhi_epi64(high01, high23);
}

// The ordinary Q8_0 panel of both planes.
const std::byte* merge_panel(const PackedMatrix& w, std::int64_t panel, std::byte* out) {
  constexpr std::int64_t kPrefetchBytes = 4096;
  const std::int64_t blocks = w.cols / kBlock;
  const std::int64_t stride = blocks * kLowBlockBytes;
  const std::byte* scales = w.data + panel * high_panel_bytes(w.cols);
  const std::byte* high = scales + blocks * 32;
  const std::byte* low = w.low + panel * kPanelRows * stride;
  const __m256i low4 = _mm256_set1_epi8(15);
  for (std::int64_t b = 0; b < blocks; ++b) {
    for (std::int64_t line = 0; line < 256; line += 64) {
      _mm_prefetch(low + kPrefetchBytes + b * 256 + line, _MM_HINT_T0);
      _mm_prefetch(high + kPrefetchBytes + b * 256 + line, _MM_HINT_T0);
    }
    std::byte* unit = out + b * kMergedBlockBytes;
    std::memcpy(unit, scales + b * 32, 32);
    for (int half = 0; half < 2; ++half) {
      __m256i words[4];
      load_words(low + b * kLowBlockBytes + half * 8 * stride, stride, words);
      for (int v = 0; v < 4; ++v) {
        const __m256i upper = load32(high + b * 256 + v * 64 + half * 32);
        const __m256i first = _mm256_slli_epi16(_mm256_and_si256(upper, low4), 4);
        const __m256i second = _mm256_andnot_si256(low4, upper);
        const auto store = [&](int g, __m256i codes) {
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(unit + 32 + g * 64 + half * 32), codes);
        };
        store(v, or_masked(first, words[v], low4));
        store(v + 4, or_masked(second, _mm256_srli_epi16(words[v], 4), low4));
      }
    }
  }
  return out;
}

// Twice the sums of a block: (32 * high nibble + 15 - 256) * code, for the two rows of x.
inline void high_dots(const std::byte* nibbles, const Activations& x, std::int64_t b, V out[2]) {
  for (int half = 0; half < 2; ++half) {
    __m256i w[8];
    unpack<DType::kQ4_0>(nibbles, half, w);
    for (std::int64_t t = 0; t < 2; ++t) {
      const CodeBlock& token = x.row(t)[b];
      const __m256i sum = dot_groups<DType::kQ4_0, 8>(w, token.codes);
      const int bias = 241 * (token.half_sums[0] + token.half_sums[1]);
      const __m256 dot =
          _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_slli_epi32(sum, 5), _mm256_set1_epi32(bias)));
      (half == 0 ? out[t].lo : out[t].hi) = dot;
    }
  }
}

#include "kernels/generic/low_part_x86-inl.h"
#include "kernels/generic/matmul-inl.h"
#include "kernels/generic/planes-inl.h"
#include "kernels/generic/table-inl.h"

}  // namespace

const KernelTable& table() {
  static constexpr KernelTable kTable = make_table("avx2");
  return kTable;
}

}  // namespace edgewise::kernels::avx2

TARGET_END
#endif
