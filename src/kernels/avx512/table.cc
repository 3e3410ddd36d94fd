// AVX-512 with VNNI: 16 rows in the lanes of one register, 4 columns per 32-bit lane, so that one vpdpbusd
// multiplies a group of 4 columns of a whole panel by one token's broadcast codes.
#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "kernels/kernel_table.h"
#include "kernels/packed_layout.h"
#include "kernels/planes.h"
#include "kernels/tables.h"
#include "kernels/target.h"

TARGET_BEGIN("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")

namespace edgewise::kernels::avx512 {
namespace {

struct V {
  __m512 v;

  static V load(const float* p) { return {_mm512_loadu_ps(p)}; }

  static V set1(float x) { return {_mm512_set1_ps(x)}; }

  static V load_f16(const std::uint16_t* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }

  static V load_codes(const std::int8_t* p) {
    return {_mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
  }

  static V add(V a, V b) { return {_mm512_add_ps(a.v, b.v)}; }

  static V sub(V a, V b) { return {_mm512_sub_ps(a.v, b.v)}; }

  static V mul(V a, V b) { return {_mm512_mul_ps(a.v, b.v)}; }

  static V div(V a, V b) { return {_mm512_div_ps(a.v, b.v)}; }

  static V fma(V a, V b, V c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }

  static V max(V a, V b) { return {_mm512_max_ps(a.v, b.v)}; }

  static V min(V a, V b) { return {_mm512_min_ps(a.v, b.v)}; }

  static V abs(V a) { return {_mm512_abs_ps(a.v)}; }

  static V zero_where_less(V x, V bound, V value) {
    return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, bound.v, _CMP_NLT_UQ), value.v)};
  }

  static V exp2_bits(V t) {
    return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_slli_epi32(_mm512_castps_si512(t.v), 23),
                                                 _mm512_set1_epi32(0x3f800000)))};
  }

  void store(float* p) const { _mm512_storeu_ps(p, v); }

  void store_f16(std::uint16_t* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }

  int store_codes(std::int8_t* p) const {
    const __m128i codes = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(v));
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
      return {_mm512_permute_ps(v, 0xb1)};
    } else if constexpr (kStride == 2) {
      return {_mm512_permute_ps(v, 0x4e)};
    } else {
      return {_mm512_shuffle_f32x4(v, v, kStride == 4 ? 0xb1 : 0x4e)};
    }
  }

  float sum() const {
    const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    const __m128 d = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(d, _mm_shuffle_ps(d, d, 1)));
  }

  float highest() const {
    const __m256 h = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    const __m128 d = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(d, _mm_shuffle_ps(d, d, 1)));
  }
};

// 6 rows x 4 vectors = 24 accumulators of 32 registers, 4 keys or values and a broadcast beside them.
constexpr int kTileRows = 6;

constexpr int tile_vectors(int) {
  return 4;
}

#include "kernels/generic/elementwise-inl.h"

// After the elementwise functions, which it uses.
#include "kernels/avx512/panels-inl.h"
#include "kernels/generic/attention-inl.h"

__m512i broadcast_codes(const std::int8_t* codes) {
  std::int32_t four;
  std::memcpy(&four, codes, 4);
  return _mm512_set1_epi32(four);
}

// The integer sums of groups [begin, begin + count) for several tokens. Their chains run side by side: one after the other,
// the waiting ones would fill the scheduler.
template <int count, int kTokens>
[[gnu::always_inline]] inline void dot_groups(const __m512i* w,
                                              const CodeBlock* first,
                                              std::int64_t stride,
                                              int begin,
                                              __m512i sums[kTokens]) {
#pragma GCC unroll 8
  for (int g = begin; g < begin + count; ++g) {
#pragma GCC unroll 16
    for (int j = 0; j < kTokens; ++j) {
      sums[j] =
          _mm512_dpbusd_epi32(sums[j], w[g], broadcast_codes(first[j * stride].codes + 4 * g));
    }
  }
}

// What the sum of a block or half block starts from: -kCodeBias * (sum of the token's codes). `start` is that for a
// bias of kOf.
template <DType type, int kOf>
[[gnu::always_inline]] inline __m512i first_sum(const std::int32_t& start) {
  if constexpr (kCodeBias<type> == 0) {
    return _mm512_setzero_si512();
  } else if constexpr (kCodeBias<type> >= kOf) {
    return _mm512_slli_epi32(_mm512_set1_epi32(start),
                             std::countr_zero(unsigned{kCodeBias<type> / kOf}));
  } else {
    return _mm512_srai_epi32(_mm512_set1_epi32(start),
                             std::countr_zero(unsigned{kOf / kCodeBias<type>}));
  }
}

// One block of tokens `stride` blocks apart: acc + scale * (weights . codes) + min * sum. Half blocks are scaled and
// added as floats, exactly: no sum is larger than 2 * 128 * (16 * 32 * 128) = 2^24.
template <DType type, int kTokens>
[[gnu::always_inline]] inline void add_block(const __m512i w[8],
                                             const BlockScales& s,
                                             const CodeBlock* first,
                                             std::int64_t stride,
                                             __m512 acc[kTokens]) {
  constexpr bool kHasMin = kLayout<type>.dmin >= 0;
  __m512i sums[kTokens];
  __m512 dots[kTokens];
  if constexpr (kHalfScales<type>) {
    for (int h = 0; h < 2; ++h) {
      for (int j = 0; j < kTokens; ++j) {
        sums[j] = first_sum<type, 32>(first[j * stride].half_starts[h]);
      }
      dot_groups<4, kTokens>(w, first, stride, 4 * h, sums);
      for (int j = 0; j < kTokens; ++j) {
        const __m512 sum = _mm512_cvtepi32_ps(sums[j]);
        dots[j] = h == 0 ? _mm512_mul_ps(sum, s.half[0]) : _mm512_fmadd_ps(sum, s.half[1], dots[j]);
      }
    }
  } else {
    for (int j = 0; j < kTokens; ++j) {
      sums[j] = first_sum<type, 16>(first[j * stride].start);
    }
    dot_groups<8, kTokens>(w, first, stride, 0, sums);
    for (int j = 0; j < kTokens; ++j) {
      dots[j] = _mm512_cvtepi32_ps(sums[j]);
    }
  }
  for (int j = 0; j < kTokens; ++j) {
    const CodeBlock& token = first[j * stride];
    const __m512 scale = _mm512_set1_ps(token.scale);
    acc[j] = _mm512_fmadd_ps(dots[j], _mm512_mul_ps(s.scale, scale), acc[j]);
    if constexpr (kHasMin && kHalfScales<type>) {
      const auto min = [&](int h) {
        return _mm512_cvtepi32_ps(_mm512_set1_epi32(token.half_starts[h]));
      };
      const __m512 sum =
          _mm512_fmadd_ps(s.half_min[1], min(1), _mm512_mul_ps(s.half_min[0], min(0)));
      acc[j] = _mm512_fmadd_ps(sum, _mm512_mul_ps(s.min, scale), acc[j]);
    } else if constexpr (kHasMin) {
      acc[j] = _mm512_fmadd_ps(s.min, _mm512_set1_ps(token.sum), acc[j]);
    }
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
  for (std::int64_t u = 0; u < cols / kL.unit_cols; ++u) {
    const std::byte* unit = panel + u * kL.unit_bytes;
    const __m512 d = halves(unit);
    const __m512 dmin = kL.dmin >= 0 ? halves(unit + kL.dmin) : _mm512_setzero_ps();
    for (int i = 0; i < kPerUnit; ++i, table += 32) {
      const BlockScales s = block_scales<type>(unit, i, d, dmin);
      _mm512_storeu_ps(table, s.scale);
      _mm512_storeu_ps(table + 16, s.min);
    }
  }
}

// Tokens of a tile whose sums run side by side: as many as the registers hold beside the tile's own.
template <DType type, int kTokens>
constexpr int kChains = kHalfScales<type> && kTokens > 8 ? 2 : 4;

// kTokens tokens from `t` against one panel. A block is unpacked once and used for all of them.
template <DType type, int kTokens, bool kFromTable = false>
void panel_tokens(const std::byte* panel,
                  const float* scale_table,
                  std::int64_t cols,
                  const Activations& x,
                  std::int64_t t,
                  float* y,
                  std::int64_t y_stride,
                  __mmask16 rows) {
  constexpr PackedLayout kL = kLayout<type>;
  constexpr int kPerUnit = static_cast<int>(kL.unit_cols / kBlock);
  const std::int64_t stride = cols / kBlock;
  const CodeBlock* tokens = x.row(t);
  __m512 acc[kTokens];
  for (auto& a : acc) {
    a = _mm512_setzero_ps();
  }
  for (int j = 0; j < kTokens; ++j) {
    __builtin_prefetch(y + (t + j) * y_stride, 1);
  }
  for (std::int64_t u = 0; u < cols / kL.unit_cols; ++u) {
    const std::byte* unit = panel + u * kL.unit_bytes;
    const __m512 d = halves(unit);
    const __m512 dmin = kL.dmin >= 0 ? halves(unit + kL.dmin) : _mm512_setzero_ps();
    for (int i = 0; i < kPerUnit; ++i) {
      const std::byte* block = unit + kL.blocks + i * kL.block_bytes;
      for (std::int64_t line = 0; line < kL.block_bytes + (i == 0 ? kL.blocks : 0); line += 64) {
        _mm_prefetch(block + kPrefetchBytes + line, _MM_HINT_T0);
      }
      __m512i w[8];
      unpack<type>(block, w);
      const std::int64_t b = u * kPerUnit + i;
      BlockScales s;
      if constexpr (kFromTable) {
        s.scale = _mm512_loadu_ps(scale_table + b * 32);
        s.min = _mm512_loadu_ps(scale_table + b * 32 + 16);
      } else {
        s = block_scales<type>(unit, i, d, dmin);
      }
      const CodeBlock* group = tokens + b;
#pragma GCC unroll 8
      for (int j = 0; j + kChains<type, kTokens> <= kTokens; j += kChains<type, kTokens>) {
        asm(""
            : "+r"(
                group));  // else the compiler keeps an address a token, more than there are registers
        add_block<type, kChains<type, kTokens>>(w, s, group, stride, acc + j);
        group += kChains<type, kTokens> * stride;
      }
      constexpr int kRest = kTokens % kChains<type, kTokens>;
      if constexpr (kRest > 0) {
        add_block<type, kRest>(w, s, group, stride, acc + kTokens - kRest);
      }
    }
  }
  for (int j = 0; j < kTokens; ++j) {
    _mm512_mask_storeu_ps(y + (t + j) * y_stride, rows, acc[j]);
  }
}

// Most tokens of a tile: their accumulators, 8 groups of codes, scales and sums share 32 registers.
constexpr int kMostTokens = 16;

template <DType type>
void quantized_panel(const std::byte* panel,
                     std::int64_t cols,
                     const Activations& x,
                     float* y,
                     std::int64_t y_stride,
                     std::int64_t rows,
                     float* scale_table) {
  // One tile of 1 to kMostTokens tokens.
  const auto run_tile = [&]<bool kFromTable>(std::int64_t t, std::int64_t tokens) {
    [&]<int... kLess>(std::integer_sequence<int, kLess...>) {
      static_cast<void>(
          ((tokens == kLess + 1 && (panel_tokens<type, kLess + 1, kFromTable>(
                                        panel, scale_table, cols, x, t, y, y_stride, mask_of(rows)),
                                    true)) ||
           ...));
    }(std::make_integer_sequence<int, kMostTokens>());
  };
  const std::int64_t tiles = (x.rows + kMostTokens - 1) / kMostTokens;
  const bool use_table = kHasScaleTable<type> && tiles > 1;
  if constexpr (kHasScaleTable<type>) {
    if (use_table) {
      fill_scale_table<type>(panel, cols, scale_table);
    }
  }
  for (std::int64_t i = 0; i < tiles; ++i) {
    const std::int64_t t = i * x.rows / tiles;
    const std::int64_t tokens = (i + 1) * x.rows / tiles - t;
    if (use_table) {
      run_tile.template operator()<kHasScaleTable<type>>(t, tokens);
    } else {
      run_tile.template operator()<false>(t, tokens);
    }
  }
}

template <DType type>
__m512 float_weights(const std::byte* panel, std::int64_t k) {
  if constexpr (type == DType::kF32) {
    return _mm512_loadu_ps(panel + k * 64);
  } else if constexpr (type == DType::kF16) {
    return halves(panel + k * 32);
  } else {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(panel + k * 32));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
}

constexpr int kFloatTokens = 12;

template <DType type, int kTokens>
void float_tokens(const std::byte* panel,
                  std::int64_t cols,
                  const float* x,
                  float* y,
                  std::int64_t y_stride,
                  std::int64_t rows) {
  __m512 acc[kTokens];
  for (auto& a : acc) {
    a = _mm512_setzero_ps();
  }
  for (std::int64_t k = 0; k < cols; ++k) {
    const __m512 w = float_weights<type>(panel, k);
#pragma GCC unroll 16
    for (int j = 0; j < kTokens; ++j) {
      acc[j] = _mm512_fmadd_ps(w, _mm512_set1_ps(x[j * cols + k]), acc[j]);
    }
  }
  for (int j = 0; j < kTokens; ++j) {
    _mm512_mask_storeu_ps(y + j * y_stride, mask_of(rows), acc[j]);
  }
}

// Four words of 16 rows `stride` bytes apart, transposed: vector v has word v of each row.
inline void load_words(const std::byte* rows, std::int64_t stride, __m512i words[4]) {
  __m512i r[4];  // lane l of r[j] is row 4 l + j
  for (int j = 0; j < 4; ++j) {
    r[j] = _mm512_castsi128_si512(load16(rows + j * stride));
    r[j] = _mm512_inserti32x4(r[j], load16(rows + (4 + j) * stride), 1);
    r[j] = _mm512_inserti32x4(r[j], load16(rows + (8 + j) * stride), 2);
    r[j] = _mm512_inserti32x4(r[j], load16(rows + (12 + j) * stride), 3);
  }
  const __m512i low01 = _mm512_unpacklo_epi32(r[0], r[1]);
  const __m512i low23 = _mm512_unpacklo_epi32(r[2], r[3]);
  const __m512i high01 = _mm512_unpackhi_epi32(r[0], r[1]);
  const __m512i high23 = _mm512_unpackhi_epi32(r[2], r[3]);
  words[0] = _mm512_unpacklo_epi64(low01, low23);
  words[1] = _mm512_unpackhi_epi64(low01, low23);
  words[2] = _mm512_unpacklo_epi64(high01, high23);
  words[3] = _mm512_unpackhi_epi64(high01, high23);
}

// The ordinary Q8_0 panel of both planes.
const std::byte* merge_panel(const PackedMatrix& w, std::int64_t panel, std::byte* out) {
  const std::int64_t blocks = w.cols / kBlock;
  const std::int64_t stride = blocks * kLowBlockBytes;
  const std::byte* scales = w.data + panel * high_panel_bytes(w.cols);
  const std::byte* high = scales + blocks * 32;
  const std::byte* low = w.low + panel * kPanelRows * stride;
  const __m512i low4 = _mm512_set1_epi8(15);
  for (std::int64_t b = 0; b < blocks; ++b) {
    for (std::int64_t line = 0; line < 256; line += 64) {
      _mm_prefetch(low + kPrefetchBytes + b * 256 + line, _MM_HINT_T0);
      _mm_prefetch(high + kPrefetchBytes + b * 256 + line, _MM_HINT_T0);
    }
    std::byte* unit = out + b * kMergedBlockBytes;
    std::memcpy(unit, scales + b * 32, 32);
    __m512i words[4];
    load_words(low + b * kLowBlockBytes, stride, words);
    for (int v = 0; v < 4; ++v) {
      const __m512i upper = load64(high + b * 256 + v * 64);
      const __m512i first = _mm512_slli_epi16(_mm512_and_si512(upper, low4), 4);
      const __m512i second = _mm512_andnot_si512(low4, upper);
      _mm512_storeu_si512(unit + 32 + v * 64, or_masked(first, words[v], low4));
      _mm512_storeu_si512(unit + 32 + (v + 4) * 64,
                          or_masked(second, _mm512_srli_epi16(words[v], 4), low4));
    }
  }
  return out;
}

// Twice the sums of a block: (32 * high nibble + 15 - 256) * code, for the two rows of x.
inline void high_dots(const std::byte* nibbles, const Activations& x, std::int64_t b, V out[2]) {
  __m512i w[8];
  unpack<DType::kQ4_0>(nibbles, w);
  for (std::int64_t t = 0; t < 2; ++t) {
    const CodeBlock& token = x.row(t)[b];
    __m512i sum = _mm512_setzero_si512();
    for (int g = 0; g < 8; ++g) {
      sum = _mm512_dpbusd_epi32(sum, w[g], broadcast_codes(token.codes + 4 * g));
    }
    const int bias = 241 * (token.half_sums[0] + token.half_sums[1]);
    sum = _mm512_sub_epi32(_mm512_slli_epi32(sum, 5), _mm512_set1_epi32(bias));
    out[t].v = _mm512_cvtepi32_ps(sum);
  }
}

#include "kernels/generic/low_part_x86-inl.h"
#include "kernels/generic/matmul-inl.h"
#include "kernels/generic/planes-inl.h"
#include "kernels/generic/quantize_x86-inl.h"
#include "kernels/generic/table-inl.h"

}  // namespace

const KernelTable& table() {
  static constexpr KernelTable kTable = make_table("avx512");
  return kTable;
}

}  // namespace edgewise::kernels::avx512

TARGET_END
#endif
