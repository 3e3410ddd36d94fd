// The exponential alone, on the portable vector; the other tests hold the instruction sets to its bits.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/kernel_table.h"
#include "kernels/portable/vector.h"

namespace edgewise::kernels::portable {
namespace {

#include "kernels/generic/elementwise-inl.h"

float exp_of(float x) {
  return exp(V::set1(x)).lane[0];
}

TEST(Exp, IsWithinItsStatedErrorOfTheTrueValue) {
  constexpr std::uint32_t kStride = 509;
  for (const std::uint32_t sign : {0U, 0x80000000U}) {
    const float end = sign == 0 ? 88.0F : 87.33F;
    for (std::uint32_t bits = 0x33000000U; std::bit_cast<float>(bits + 16 * kStride) <= end;
         bits += 16 * kStride) {
      const V x = V::make([&](int i) {
        return std::bit_cast<float>((bits + static_cast<std::uint32_t>(i) * kStride) | sign);
      });
      const V y = exp(x);
      for (int i = 0; i < 16; ++i) {
        const double exact = std::exp(static_cast<double>(x.lane[i]));
        ASSERT_LE(std::abs(static_cast<double>(y.lane[i]) - exact), 2.5e-7 * exact) << x.lane[i];
      }
    }
  }
}

TEST(Exp, IsExactAtItsEnds) {
  EXPECT_EQ(exp_of(0.0F), 1.0F);
  EXPECT_EQ(exp_of(-0.0F), 1.0F);
  EXPECT_GT(exp_of(-87.33F), 0.0F);
  for (const float x : {std::nextafter(-87.33F, -1000.0F), -150.0F, -1e10F, -3e38F,
                        -std::numeric_limits<float>::infinity()}) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(exp_of(x)), 0U) << x;
  }
}

TEST(Exp, OfWhatIsNotANumberIsNone) {
  for (const std::uint32_t bits : {0x7FC00000U, 0xFFC00000U, 0x7FC00001U}) {
    EXPECT_TRUE(std::isnan(exp_of(std::bit_cast<float>(bits))));
  }
}

}  // namespace
}  // namespace edgewise::kernels::portable
