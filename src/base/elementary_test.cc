// Against the C library in long double, and against recorded bits: any other bit on any machine or compiler fails.
#include "base/elementary.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

namespace edgewise::elementary {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNotANumber = std::numeric_limits<double>::quiet_NaN();
constexpr double kSmallest = std::numeric_limits<double>::denorm_min();
constexpr double kLargest = std::numeric_limits<double>::max();

// In units in the last place of the result.
double error_of(double result, long double exact) {
  const double near = std::fabs(static_cast<double>(exact));
  const double place = std::nextafter(near, kInfinity) - near;
  return static_cast<double>(std::fabs(static_cast<long double>(result) - exact) /
                             static_cast<long double>(place));
}

class Elementary : public ::testing::Test {
 protected:
  double between(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random_);
  }

  // Evenly over the exponents.
  double scaled(double low, double high) {
    return std::exp(between(std::log(low), std::log(high)));
  }

  double worst(int count, const std::function<double()>& error) {
    double most = 0.0;
    for (int i = 0; i < count; ++i) {
      most = std::max(most, error());
    }
    return most;
  }

 private:
  std::mt19937_64 random_{1};
};

TEST_F(Elementary, LogIsWithinItsStatedError) {
  const auto error = [](double x) {
    return error_of(log(x), std::log(static_cast<long double>(x)));
  };
  EXPECT_LT(worst(300'000, [&] { return error(between(0.5, 2.0)); }), 0.55);
  EXPECT_LT(worst(300'000, [&] { return error(scaled(1e-300, 1e300)); }), 0.55);
  EXPECT_LT(worst(10'000, [&] { return error(1.0 + between(-1e-6, 1e-6)); }), 0.55);
  for (const double x : {kSmallest, 1e-310, 0x1p-1022, kLargest, std::nextafter(1.0, 0.0),
                         std::nextafter(1.0, 2.0), 0.70710678118654752, 0.70710678118654746}) {
    EXPECT_LT(error(x), 0.55) << x;
  }
}

TEST_F(Elementary, LogAtItsEnds) {
  EXPECT_EQ(log(1.0), 0.0);
  EXPECT_EQ(log(0.0), -kInfinity);
  EXPECT_EQ(log(-0.0), -kInfinity);
  EXPECT_EQ(log(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(log(-1.0)));
  EXPECT_TRUE(std::isnan(log(-kInfinity)));
  EXPECT_TRUE(std::isnan(log(kNotANumber)));
}

TEST_F(Elementary, PowOfARopeIsWithinItsStatedError) {
  for (const double base : {2.0, 500.0, 10'000.0, 100'000.0, 500'000.0, 1e6, 5e6, 1e9}) {
    for (const double dims : {16.0, 64.0, 80.0, 96.0, 128.0, 256.0}) {
      for (double i = 0.0; i < dims / 2.0; i += 1.0) {
        const double y = -2.0 * i / dims;
        EXPECT_LT(error_of(pow(base, y), std::pow(static_cast<long double>(base), y)), 2.0)
            << base << "^" << y;
      }
    }
  }
}

TEST_F(Elementary, PowIsWithinItsStatedError) {
  const auto error = [](double x, double y) {
    return error_of(pow(x, y), std::pow(static_cast<long double>(x), static_cast<long double>(y)));
  };
  EXPECT_LT(worst(300'000,
                  [&] {
                    const double x = scaled(1e-6, 1e6);
                    return error(x, between(-31.0, 31.0) / std::fabs(std::log(x)));
                  }),
            2.0);
  EXPECT_LT(worst(300'000,
                  [&] {
                    const double x = scaled(1e-100, 1e100);
                    return error(x, between(-708.0, 708.0) / std::fabs(std::log(x)));
                  }),
            25.0);
  EXPECT_LT(error(1.5, 1750.3), 25.0);   // near the largest
  EXPECT_LT(error(1.5, -1830.7), 25.0);  // subnormal
}

TEST_F(Elementary, PowAtItsEndsIsTheLibrarys) {
  for (const double x : {0.0, 0.5, 1.0, 2.0, kSmallest, kLargest, kInfinity, kNotANumber}) {
    for (const double y :
         {0.0, -0.0, 1.0, -1.0, 1e300, -1e300, kInfinity, -kInfinity, kNotANumber}) {
      const double expected = std::pow(x, y);
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(pow(x, y))) << x << "^" << y;
      } else if (x == 1.0 || y == 0.0 || x == 0.0 || std::isinf(x) || std::fabs(y) != 1.0) {
        EXPECT_EQ(pow(x, y), expected) << x << "^" << y;
      }
    }
  }
  EXPECT_TRUE(std::isnan(pow(-2.0, 3.0)));
}

TEST_F(Elementary, SinesAndCosinesAreWithinAPlace) {
  const auto error = [](double angle) {
    const SinCos result = sin_cos(angle);
    return std::max(error_of(result.sin, std::sin(static_cast<long double>(angle))),
                    error_of(result.cos, std::cos(static_cast<long double>(angle))));
  };
  EXPECT_LT(worst(200'000, [&] { return error(between(-10.0, 10.0)); }), 1.0);
  EXPECT_LT(worst(200'000, [&] { return error(scaled(1e-30, 0x1p22)); }), 1.0);
  EXPECT_LT(worst(200'000, [&] { return error(-scaled(1.0, 0x1.fp47)); }), 1.0);
  for (double position = 0.0; position <= 0x1p20; position += 7.0) {
    ASSERT_LT(error(position), 1.0) << position;
  }
  // The doubles next to multiples of pi / 2, where all leading bits cancel.
  for (double n = 1.0; n < 0x1p40; n = std::floor(n * 1.37) + 1.0) {
    const double near = n * 1.5707963267948966;
    for (const double angle : {near, std::nextafter(near, 0.0), std::nextafter(near, kInfinity)}) {
      ASSERT_LT(error(angle), 1.0) << angle;
    }
  }
  EXPECT_LT(error(6381956970095103.0 * 0x1p-30), 1.0);
}

TEST_F(Elementary, SinesAndCosinesAtTheirEnds) {
  EXPECT_EQ(sin_cos(0.0).sin, 0.0);
  EXPECT_EQ(sin_cos(0.0).cos, 1.0);
  EXPECT_EQ(sin_cos(kSmallest).sin, kSmallest);
  for (const double angle : {0x1p48, -0x1p48, kLargest, kInfinity, -kInfinity, kNotANumber}) {
    EXPECT_TRUE(std::isnan(sin_cos(angle).sin)) << angle;
    EXPECT_TRUE(std::isnan(sin_cos(angle).cos)) << angle;
  }
}

TEST_F(Elementary, ExpIsWithinItsStatedError) {
  const auto error = [](double x) {
    return error_of(exp_within_708(x), std::exp(static_cast<long double>(x)));
  };
  EXPECT_LT(worst(300'000, [&] { return error(between(-708.0, 708.0)); }), 1.2);
  EXPECT_LT(worst(300'000, [&] { return error(between(-1.0, 1.0)); }), 1.2);
  EXPECT_EQ(exp_within_708(0.0), 1.0);
}

TEST_F(Elementary, BitsAreTheRecorded) {
  const auto bits = [](double x) { return std::bit_cast<std::uint64_t>(x); };
  EXPECT_EQ(bits(log(1e-310)), 0xc0864e69394d9508U);
  EXPECT_EQ(bits(log(0.3)), 0xbff34378fcbda721U);
  EXPECT_EQ(bits(log(3.0)), 0x3ff193ea7aad030bU);
  EXPECT_EQ(bits(log(500'000.0)), 0x402a3ea669a05c01U);
  EXPECT_EQ(bits(pow(10'000.0, -63.0 / 64.0)), 0x3f1e459c57e28a47U);
  EXPECT_EQ(bits(pow(10'000.0, -0.5)), 0x3f847ae147ae147bU);
  EXPECT_EQ(bits(pow(10'000.0, 0.3)), 0x402fb2a734897866U);
  EXPECT_EQ(bits(pow(1e6, -127.0 / 128.0)), 0x3eb2b07b364c5e7aU);
  EXPECT_EQ(bits(sin_cos(0.3).sin), 0x3fd2e9cd95baba33U);
  EXPECT_EQ(bits(sin_cos(0.3).cos), 0x3fee921dd42f09baU);
  EXPECT_EQ(bits(sin_cos(2.5).sin), 0x3fe326af0dcfcab0U);
  EXPECT_EQ(bits(sin_cos(2.5).cos), 0xbfe9a2f7ef858b7dU);
  EXPECT_EQ(bits(sin_cos(131'071.0).sin), 0xbfe268613f60babcU);
  EXPECT_EQ(bits(sin_cos(131'071.0).cos), 0xbfea2cebbb513e7cU);
  EXPECT_EQ(bits(sin_cos(1'048'575.0).sin), 0xbfe3b32b2ca06654U);
  EXPECT_EQ(bits(sin_cos(1'048'575.0).cos), 0x3fe937a45bd49642U);
  EXPECT_EQ(bits(sin_cos(1e12).sin), 0xbfe38f4477984352U);
  EXPECT_EQ(bits(sin_cos(1e12).cos), 0x3fe9538731dff223U);
  EXPECT_EQ(bits(exp_within_708(-0.3)), 0x3fe7b4c869c37c05U);
  EXPECT_EQ(bits(exp_within_708(-20.7)), 0x3e1195920309b9daU);
  EXPECT_EQ(bits(exp_within_708(-699.0)), 0x00e78694fe9f73ccU);
  EXPECT_EQ(bits(exp_within_708(5.5)), 0x406e96244f21bbf6U);
}

}  // namespace
}  // namespace edgewise::elementary
