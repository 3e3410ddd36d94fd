// Elementary functions in double that are the same bits on every machine: fixed sequences of IEEE operations (+, -, *, /, fma,
// rounding to an integer), none from the C library, whose last bit depends on its version and on the processor. For what
// decides numbers that a user sees; where bits do not matter the C library's are as good. Pure; any thread.
#pragma once

#include <bit>
#include <cstdint>

namespace edgewise::elementary {

// Natural logarithm, within 0.55 units in the last place. -infinity of 0, not a number of what is negative.
double log(double x);

// x^y for x of at least 0 (not a number below), within 2 units in the last place where |y log x| < 32, 25 elsewhere; as the C
// library's at 0, 1 and infinity.
double pow(double x, double y);

struct SinCos {
  double sin;
  double cos;
};

// Of an angle in radians, each within 1 unit in the last place. Not a number from 2^48 on, where an angle's own last place is a
// sixteenth of a radian.
SinCos sin_cos(double angle);

// exp(x + rest) for |x| of at most 708 and a rest that is at most x's last place, within 1.2 units in the last place. Range
// reduction by Cody and Waite (Software Manual for the Elementary Functions, 1980) and the Taylor series to degree 13, whose
// rest is under 2^-57.
inline double exp_within_708(double x, double rest = 0.0) {
  constexpr double kLog2E = 1.4426950408889634;
  constexpr double kLn2High = 6.93147180369123816490e-01;  // 32 bits: times k it is exact
  constexpr double kLn2Low = 1.90821492927058770002e-10;
  constexpr double kRound = 0x1.8p52;  // adding it leaves the nearest integer in the low bits
  const double shifted = x * kLog2E + kRound;
  const double k = shifted - kRound;
  const double r = (x - k * kLn2High) - (k * kLn2Low - rest);
  double p = 1.0 / 6227020800.0;
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const std::uint64_t exponent = std::bit_cast<std::uint64_t>(shifted) << 52U;
  return std::bit_cast<double>(std::bit_cast<std::uint64_t>(p) + exponent);
}

}  // namespace edgewise::elementary
