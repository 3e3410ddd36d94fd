// NEON with matrix products of 8 bits (Armv8.6, optional before): smmla multiplies 2 rows x 8 columns by 2 tokens x 8
// columns. A single token takes sdot.
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
#include "kernels/target.h"

TARGET_BEGIN("arch=armv8.2-a+dotprod+i8mm")

namespace edgewise::kernels::i8mm {
namespace {

#include "kernels/neon/dot-inl.h"
#include "kernels/neon/vector-inl.h"

// Two groups of 4 columns become 8 columns of rows 0 and 1, and of rows 2 and 3.
inline void arrange(int8x16_t w[8]) {
  for (int g = 0; g < 8; g += 2) {
    const int32x4_t first = vreinterpretq_s32_s8(w[g]);
    const int32x4_t second = vreinterpretq_s32_s8(w[g + 1]);
    w[g] = vreinterpretq_s8_s32(vzip1q_s32(first, second));
    w[g + 1] = vreinterpretq_s8_s32(vzip2q_s32(first, second));
  }
}

template <tensor::DType type, int count>
inline void dot_pair(const int8x16_t* w,
                     const std::int8_t* a,
                     const std::int8_t* b,
                     int32x4_t out[2]) {
  int32x4_t rows01 = vdupq_n_s32(0);  // row 0 with a and b, row 1 with a and b
  int32x4_t rows23 = vdupq_n_s32(0);
  for (int g = 0; g < count; g += 2) {
    const int8x16_t x = vcombine_s8(vld1_s8(a + 4 * g), vld1_s8(b + 4 * g));
    rows01 = vmmlaq_s32(rows01, w[g], x);
    rows23 = vmmlaq_s32(rows23, w[g + 1], x);
  }
  out[0] = vuzp1q_s32(rows01, rows23);
  out[1] = vuzp2q_s32(rows01, rows23);
}

#include "kernels/neon/products-inl.h"

}  // namespace

const KernelTable& table() {
  static constexpr KernelTable kTable = make_table("i8mm");
  return kTable;
}

}  // namespace edgewise::kernels::i8mm

TARGET_END
#endif
