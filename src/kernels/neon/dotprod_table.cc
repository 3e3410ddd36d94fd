// NEON with the dot product instructions (Armv8.2): sdot adds the products of 4 columns of 4 rows to 32-bit sums.
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

TARGET_BEGIN("arch=armv8.2-a+dotprod")

namespace edgewise::kernels::dotprod {
namespace {

#include "kernels/neon/vector-inl.h"

inline void arrange(int8x16_t*) {}

#include "kernels/neon/dot-inl.h"

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
  static constexpr KernelTable kTable = make_table("dotprod");
  return kTable;
}

}  // namespace edgewise::kernels::dotprod

TARGET_END
#endif
