// NEON of every 64-bit ARM: products of 8 bits are summed in 16 bits as far as codes of at most 6 bits leave room, then
// added in pairs.
#if defined(__aarch64__)
#include <arm_neon.h>

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

namespace edgewise::kernels::neon {
namespace {

#include "kernels/neon/vector-inl.h"

inline void arrange(int8x16_t*) {}

// Groups whose products fit 16 bits together: codes of 6 bits, 32 * 128 * 8 = 32,768, are asked for in fours only. Two
// products of -128 * -128 would be one too many.
template <tensor::DType type>
constexpr int kGroupsPerSum =
    type == tensor::DType::kQ8_0                                       ? 1
    : type == tensor::DType::kIQ4_NL || type == tensor::DType::kIQ4_XS ? 2
                                                                       : 8;

template <tensor::DType type, int count>
inline int32x4_t dot(const int8x16_t* w, const std::int8_t* codes) {
  constexpr int kDepth = std::min(count, kGroupsPerSum<type>);
  int32x4_t low = vdupq_n_s32(0);   // rows 0 and 1, two sums each
  int32x4_t high = vdupq_n_s32(0);  // rows 2 and 3
  for (int g = 0; g < count; g += kDepth) {
    int16x8_t low_products = vdupq_n_s16(0);
    int16x8_t high_products = vdupq_n_s16(0);
    for (int i = g; i < g + kDepth; ++i) {
      std::int32_t four;
      std::memcpy(&four, codes + 4 * i, 4);
      const int8x8_t x = vreinterpret_s8_s32(vdup_n_s32(four));
      low_products = vmlal_s8(low_products, vget_low_s8(w[i]), x);
      high_products = vmlal_s8(high_products, vget_high_s8(w[i]), x);
    }
    low = vpadalq_s16(low, low_products);
    high = vpadalq_s16(high, high_products);
  }
  return vpaddq_s32(low, high);
}

template <tensor::DType type, int count>
inline void dot_pair(const int8x16_t* w,
                     const std::int8_t* a,
                     const std::int8_t* b,
                     int32x4_t out[2]) {
  out[0] = dot<type, count>(w, a);
  out[1] = dot<type, count>(w, b);
}

#include "kernels/neon/products-inl.h"

}  // namespace

const KernelTable& table() {
  static constexpr KernelTable kTable = make_table("neon");
  return kTable;
}

}  // namespace edgewise::kernels::neon
#endif
