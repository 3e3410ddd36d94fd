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

  static V load_bf16(const std::uint16_t* p) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
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

  static V times_exp2(V p, V t) {
    return {_mm512_scalef_ps(p.v, _mm512_sub_ps(t.v, _mm512_set1_ps(12582912.0F)))};
  }

  void store(float* p) const { _mm512_storeu_ps(p, v); }

  void store_f16(std::uint16_t* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }

  int store_codes(std::int8_t* p) const {
    const __m128i codes =
        _mm_max_epi8(_mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(v)), _mm_set1_epi8(-127));
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

  // What four rows' sum() or highest() are, by the same trees beside each other.
  static void sums(const V (&rows)[4], float* to) {
    fold(rows, to, [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); });
  }

  static void highest(const V (&rows)[4], float* to) {
    fold(rows, to, [](__m512 a, __m512 b) { return _mm512_max_ps(a, b); });
  }

  template <typename Op>
  static void fold(const V (&rows)[4], float* to, Op op) {
    const auto halves = [&](__m512 a, __m512 b) {
      return op(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    };
    const __m512 h01 = halves(rows[0].v, rows[1].v);
    const __m512 h23 = halves(rows[2].v, rows[3].v);
    const __m512 q = op(_mm512_shuffle_f32x4(h01, h23, 0x88), _mm512_shuffle_f32x4(h01, h23, 0xdd));
    const __m512 d = op(q, _mm512_permute_ps(q, 0x4e));
    const __m512 all = op(d, _mm512_permute_ps(d, 0xb1));
    const __m512i firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
    _mm_storeu_ps(to, _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, all)));
  }
};

// 6 rows x 4 vectors = 24 accumulators of 32 registers, 4 keys or values and a broadcast beside them.
constexpr int kTileRows = 6;

constexpr int tile_vectors(int) {
  return 4;
}

#include "kernels/generic/elementwise-inl.h"

// After the elementwise functions, which it uses.
#include "kernels/generic/attention-inl.h"
#include "kernels/generic/kv_store-inl.h"

template <tensor::DType>
constexpr bool kSignedCodes = false;

#include "kernels/avx512/register-inl.h"
#include "kernels/generic/codes_x86-inl.h"

// sum + the products of w's groups of four codes with the same four of a token. Assembly, since g++ does not broadcast an operand
// of this instruction out of memory: it takes a load, and a register for its result, for each.
[[gnu::always_inline]] inline void add_products(__m512i& sum, __m512i w, const std::int8_t* codes) {
  asm("vpdpbusd %2%{1to16%}, %1, %0"
      : "+v"(sum)
      : "v"(w), "m"(*reinterpret_cast<const std::int8_t(*)[4]>(codes)));
}

// The accumulators of so many, 8 groups of codes, scales and sums share 32 registers.
constexpr int kMostTokens = 16;

// A chain of 8 products takes 40 cycles; one after the other, waiting ones would fill the scheduler. A group of 8 leaves no
// register for some accumulators, and is still faster.
constexpr int kMostChains = 8;

template <DType, int count, int kTokens>
[[gnu::always_inline]] inline void dot_groups(const __m512i* w,
                                              const CodeBlock* first,
                                              std::int64_t stride,
                                              int begin,
                                              __m512i sums[kTokens]) {
#pragma GCC unroll 8
  for (int g = begin; g < begin + count; ++g) {
#pragma GCC unroll 16
    for (int j = 0; j < kTokens; ++j) {
      add_products(sums[j], w[g], first[j * stride].codes + 4 * g);
    }
  }
}

constexpr int kFloatTokens = 12;

#include "kernels/generic/products_x86-inl.h"

// After the products, which they use.
#include "kernels/generic/planes_x86-inl.h"

// After all that they use.
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
