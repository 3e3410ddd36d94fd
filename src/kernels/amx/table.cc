// AMX: products of many tokens with quantized weights as tiles of 8-bit integers (Intel SDM, volume 1, chapter 18); all
// else is AVX-512's.
#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/kernel_table.h"
#include "kernels/packed_layout.h"
#include "kernels/tables.h"
#include "kernels/target.h"

TARGET_BEGIN("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,amx-tile,amx-int8")

namespace edgewise::kernels::amx {
namespace {

template <tensor::DType>
constexpr bool kSignedCodes = true;

#include "kernels/avx512/register-inl.h"
#include "kernels/generic/codes_x86-inl.h"

// After the codes, which it reads.
#include "kernels/amx/products-inl.h"

void matmul(const PackedMatrix& w,
            std::int64_t panel_begin,
            std::int64_t panel_end,
            const Activations& x,
            float* y,
            std::int64_t y_stride,
            std::byte* scratch) {
  const bool tiled =
      x.rows >= kLeastTokens && w.low == nullptr && dispatch_quantized(w.type, [&]<DType type>() {
        multiply_panels<type>(w, panel_begin, panel_end, x, y, y_stride, scratch);
      });
  if (!tiled) {
    avx512::table().matmul(w, panel_begin, panel_end, x, y, y_stride, scratch);
  }
}

}  // namespace

const KernelTable& table() {
  static const KernelTable kTable = [] {
    KernelTable table = avx512::table();
    table.name = "amx";
    table.matmul = matmul;
    return table;
  }();
  return kTable;
}

}  // namespace edgewise::kernels::amx

TARGET_END
#endif
