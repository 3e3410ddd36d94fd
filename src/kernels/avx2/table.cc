// AVX2 with FMA: a panel's 16 rows as two registers of 8 rows x 4 columns. vpmaddubsw adds pairs of products in
// 16 bits; codes of at most 4, 5 and 6 bits leave room for 8, 4 and 2 of them before widening (31 * 127 * 2 * 4
// = 31,496 < 32,768), and 8-bit codes are multiplied as |w| * sign(w) x.
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

TARGET_BEGIN("avx2,fma,f16c")

namespace edgewise::kernels::avx2 {
namespace {

using tensor::DType;

#include "kernels/avx2/vector-inl.h"
#include "kernels/generic/elementwise-inl.h"

// After the elementwise functions, which it uses.
#include "kernels/generic/attention-inl.h"
#include "kernels/generic/kv_store-inl.h"

template <DType type>
constexpr bool kSignedCodes =
    type == DType::kQ8_0 || type == DType::kIQ4_NL || type == DType::kIQ4_XS;

#include "kernels/avx2/register-inl.h"
#include "kernels/generic/codes_x86-inl.h"

// Groups whose pair products fit 16 bits together.
template <DType type>
constexpr int kGroupsPerSum =
    kSignedCodes<type>                                                     ? 1
    : type == DType::kQ6_K                                                 ? 2
    : type == DType::kQ5_0 || type == DType::kQ5_1 || type == DType::kQ5_K ? 4
    : kHalfScales<type>                                                    ? 4
                                                                           : 8;
constexpr int kMostTokens = 8;
constexpr int kMostChains = 1;

template <DType type, int count, int kTokens>
[[gnu::always_inline]] inline void dot_groups(const __m256i* w,
                                              const CodeBlock* first,
                                              std::int64_t stride,
                                              int begin,
                                              __m256i sums[kTokens]) {
  const __m256i one = _mm256_set1_epi16(1);
  for (int j = 0; j < kTokens; ++j) {
    const std::int8_t* codes = first[j * stride].codes;
    for (int g = begin; g < begin + count; g += kGroupsPerSum<type>) {
      __m256i pairs = _mm256_setzero_si256();
      for (int i = g; i < g + kGroupsPerSum<type>; ++i) {
        const __m256i x = broadcast_codes(codes + 4 * i);
        const __m256i product = kSignedCodes<type> ? _mm256_maddubs_epi16(_mm256_abs_epi8(w[i]),
                                                                          _mm256_sign_epi8(x, w[i]))
                                                   : _mm256_maddubs_epi16(w[i], x);
        pairs = i == g ? product : _mm256_add_epi16(pairs, product);
      }
      sums[j] = _mm256_add_epi32(sums[j], _mm256_madd_epi16(pairs, one));
    }
  }
}

constexpr int kFloatTokens = 6;

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
  static constexpr KernelTable kTable = make_table("avx2");
  return kTable;
}

}  // namespace edgewise::kernels::avx2

TARGET_END
#endif
