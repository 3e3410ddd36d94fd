// The exponential and the error function's gelu alone, on the portable vector; the other tests hold the instruction sets to its bits.
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

float gelu_erf_of(float x) {
  return gelu_erf(V::set1(x)).lane[0];
}

TEST(GeluErf, IsWithinItsStatedErrorOfTheTrueValue) {
  const auto check = [](float x) {
    const double t = std::abs(static_cast<double>(x));
    const double tail = 0.5 * t * std::erfc(t / std::sqrt(2.0));
    const double exact = x > 0.0F ? t - tail : -tail;
    constexpr double kLeast = 1e-37;  // exp below -87.33 is 0
    ASSERT_LE(std::abs(static_cast<double>(gelu_erf_of(x)) - exact),
              (5e-7 + 3e-8 * t * t) * tail + 0x1p-24 * std::abs(exact) + kLeast)
        << x;
  };
  for (float x = -16.0F; x < 16.0F; x += 0.0007F) {
    check(x);
  }
  for (float x = 1e-30F; x < 1e30F; x *= 1.7F) {
    check(x);
    check(-x);
  }
}

TEST(GeluErf, IsExactAtItsEnds) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(gelu_erf_of(0.0F), 0.0F);
  EXPECT_EQ(gelu_erf_of(20.0F), 20.0F);
  EXPECT_EQ(gelu_erf_of(kInfinity), kInfinity);
  EXPECT_EQ(gelu_erf_of(-kInfinity), 0.0F);
  EXPECT_TRUE(std::isnan(gelu_erf_of(std::numeric_limits<float>::quiet_NaN())));
}

// Any other bit on any machine or compiler fails.
TEST(Elementwise, BitsAreTheRecorded) {
  const auto bits = [](V v) { return std::bit_cast<std::uint32_t>(v.lane[0]); };
  EXPECT_EQ(bits(exp(V::set1(-0.3F))), 0x3F3DA644U);
  EXPECT_EQ(bits(exp(V::set1(-20.7F))), 0x308CAC89U);
  EXPECT_EQ(bits(exp(V::set1(5.5F))), 0x4374B122U);
  EXPECT_EQ(bits(sigmoid(V::set1(-1.7F))), 0x3E1E2C24U);
  EXPECT_EQ(bits(tanh(V::set1(0.4F))), 0x3EC288ACU);
  EXPECT_EQ(bits(gelu(V::set1(-0.9F))), 0xBE29C002U);
  EXPECT_EQ(bits(gelu_erf(V::set1(0.7F))), 0x3F07D712U);
  EXPECT_EQ(bits(gelu_erf(V::set1(-2.6F))), 0xBC468F27U);
}

}  // namespace
}  // namespace edgewise::kernels::portable
