// AVX-VNNI without AVX-512, as in Alder Lake-N: the AVX2 kernels, whose integer products are one vpdpbusd a group. It adds four
// products to a 32-bit sum and so is exact for unsigned codes of any width.
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

TARGET_BEGIN("avx2,fma,f16c,avxvnni")

namespace edgewise::kernels::avxvnni {
namespace {

using tensor::DType;

#include "kernels/avx2/vector-inl.h"
#include "kernels/generic/elementwise-inl.h"

// After the elementwise functions, which it uses.
#include "kernels/generic/attention-inl.h"
#include "kernels/generic/kv_store-inl.h"

template <DType>
constexpr bool kSignedCodes = false;

#include "kernels/avx2/register-inl.h"
#include "kernels/generic/codes_x86-inl.h"

constexpr int kMostTokens = 16;
// One after the other, waiting sums would fill the scheduler.
constexpr int kMostChains = 4;

template <DType, int count, int kTokens>
[[gnu::always_inline]] inline void dot_groups(const __m256i* w,
                                              const CodeBlock* first,
                                              std::int64_t stride,
                                              int begin,
                                              __m256i sums[kTokens]) {
#pragma GCC unroll 8
  for (int g = begin; g < begin + count; ++g) {
#pragma GCC unroll 16
    for (int j = 0; j < kTokens; ++j) {
      sums[j] =
          _mm256_dpbusd_avx_epi32(sums[j], w[g], broadcast_codes(first[j * stride].codes + 4 * g));
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
  static constexpr KernelTable kTable = make_table("avxvnni");
  return kTable;
}

}  // namespace edgewise::kernels::avxvnni

TARGET_END
#endif
