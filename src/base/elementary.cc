#include "base/elementary.h"

#include <cmath>
#include <cstddef>
#include <limits>

namespace edgewise::elementary {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNotANumber = std::numeric_limits<double>::quiet_NaN();
constexpr double kLn2High = 0x1.62e42feep-1;  // 32 bits: times an exponent it is exact
constexpr double kLn2Low = 0x1.a39ef35793c76p-33;

// high + low, where low is at most half of high's last place.
struct Sum {
  double high;
  double low;
};

// For |a| >= |b| or a = 0.
Sum add(double a, double b) {
  const double high = a + b;
  return {high, b - (high - a)};
}

// The polynomial c[0] + c[1] x + c[2] x^2 ...
template <std::size_t n>
double polynomial(const double (&c)[n], double x) {
  double p = c[n - 1];
  for (std::size_t i = n - 1; i > 0; --i) {
    p = p * x + c[i - 1];
  }
  return p;
}

// log of a positive finite number, to about 2^-57.5 of itself: x = 2^k m, m about 1, log m = 2 atanh(s) with s = (m - 1) / (m + 1).
Sum log_sum(double x) {
  int k = 0;
  double m = std::frexp(x, &k);
  if (m < 0.70710678118654752) {
    m += m;
    --k;
  }
  const double f = m - 1.0;  // exact, as m is in [0.7, 1.42)
  const Sum below = add(2.0, f);
  const double s = f / below.high;
  const double s_low = (std::fma(-s, below.high, f) - s * below.low) / below.high;
  static constexpr double kSeries[] = {2.0 / 3,  2.0 / 5,  2.0 / 7,  2.0 / 9,  2.0 / 11, 2.0 / 13,
                                       2.0 / 15, 2.0 / 17, 2.0 / 19, 2.0 / 21, 2.0 / 23};
  const double square = s * s;
  const double rest = s * square * polynomial(kSeries, square) + 2.0 * s_low;
  const auto exponent = static_cast<double>(k);
  const Sum high = add(exponent * kLn2High, 2.0 * s);
  return add(high.high, high.low + (rest + exponent * kLn2Low));
}

double exp_of(const Sum& x) {
  if (std::fabs(x.high) <= 700.0) {
    return exp_within_708(x.high, x.low);
  }
  if (x.high > 710.0) {
    return kInfinity;
  }
  if (x.high < -750.0) {
    return 0.0;
  }
  const double k = x.high > 0.0 ? 64.0 : -64.0;  // by so many powers of 2 nearer to 0
  return exp_within_708(x.high - k * kLn2High, x.low - k * kLn2Low) * (k > 0.0 ? 0x1p64 : 0x1p-64);
}

// The angle less the nearest multiple of pi / 2, which is at most a little over pi / 4, and that multiple.
struct Reduced {
  Sum rest;
  std::int64_t quarter_turns;
};

Reduced reduce(double angle) {
  constexpr double kHalfPi = 0x1.921fb54442d18p+0;
  constexpr double kHalfPiLow = 0x1.1a62633145c07p-54;
  constexpr double kHalfPiLowest = -0x1.f1976b7ed8fbcp-110;
  constexpr double kRound = 0x1.8p52;
  const double n = (angle * 0x1.45f306dc9c883p-1 + kRound) - kRound;
  // Exact: what is left is a multiple of 2^-53 or of the angle's last place, and less than 1.
  const double r = std::fma(-n, kHalfPi, angle);
  const double product = n * kHalfPiLow;
  const double high = r - product;
  const double lost = (r - high) - product;
  const double low = lost - std::fma(n, kHalfPiLow, -product) - n * kHalfPiLowest;
  return {{high, low}, static_cast<std::int64_t>(n)};
}

// Taylor's series; the first terms left out are under 2^-58 of the result.
double sin_of(const Sum& x) {
  static constexpr double kSeries[] = {
      -1.0 / 6,        1.0 / 120,        -1.0 / 5040,          1.0 / 362880,
      -1.0 / 39916800, 1.0 / 6227020800, -1.0 / 1307674368000, 1.0 / 355687428096000};
  const double square = x.high * x.high;
  return x.high + (x.high * square * polynomial(kSeries, square) + x.low * (1.0 - 0.5 * square));
}

double cos_of(const Sum& x) {
  static constexpr double kSeries[] = {
      1.0 / 24,        -1.0 / 720,         1.0 / 40320,          -1.0 / 3628800,
      1.0 / 479001600, -1.0 / 87178291200, 1.0 / 20922789888000, -1.0 / 6402373705728000};
  const double square = x.high * x.high;
  const Sum begin = add(1.0, -0.5 * square);
  const double rest = square * square * polynomial(kSeries, square) - x.high * x.low;
  return begin.high + (begin.low + rest);
}

}  // namespace

double log(double x) {
  if (x == 0.0) {
    return -kInfinity;
  }
  if (!(x > 0.0)) {
    return kNotANumber;
  }
  return x == kInfinity ? x : log_sum(x).high;
}

double pow(double x, double y) {
  if (y == 0.0 || x == 1.0) {
    return 1.0;
  }
  if (!(x >= 0.0) || std::isnan(y)) {
    return kNotANumber;
  }
  if (x == 0.0 || x == kInfinity) {
    return (x == 0.0) == (y > 0.0) ? 0.0 : kInfinity;
  }
  const Sum logarithm = log_sum(x);
  const double high = y * logarithm.high;
  if (std::fabs(high) > 1000.0) {
    return high > 0.0 ? kInfinity : 0.0;
  }
  return exp_of({high, std::fma(y, logarithm.high, -high) + y * logarithm.low});
}

SinCos sin_cos(double angle) {
  if (!(std::fabs(angle) < 0x1p48)) {
    return {kNotANumber, kNotANumber};
  }
  const Reduced reduced = reduce(angle);
  const double sin = sin_of(reduced.rest);
  const double cos = cos_of(reduced.rest);
  switch (reduced.quarter_turns & 3) {
    case 0:
      return {sin, cos};
    case 1:
      return {cos, -sin};
    case 2:
      return {-sin, -cos};
    default:
      return {-cos, sin};
  }
}

}  // namespace edgewise::elementary
