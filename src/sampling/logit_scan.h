// Passes over all logits of a step: fast, and the same bits on every machine (plain arithmetic in a
// fixed order, no library functions whose last bit depends on the processor).
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"

namespace edgewise::sampling {

struct Highest {
  TokenId token = -1;  // the lowest id among equals
  float logit = 0.0F;
  bool has_nan = false;
};

Highest find_highest(std::span<const float> logits);

// The `count` likeliest tokens, likeliest first, lower ids first among equals; tokens of -infinity
// never.
std::vector<TokenId> find_likeliest(std::span<const float> logits, std::size_t count);

// weights[i] = exp((logits[i] - top) * inverse_temperature), at most 1. Returns their sum.
double fill_weights(std::span<const float> logits,
                    float top,
                    double inverse_temperature,
                    std::vector<double>& weights);

// exp(x) for x <= 0, to about one unit in the last place; 0 below -700. Range reduction by Cody and
// Waite (Software Manual for the Elementary Functions, 1980) and the Taylor series to degree 13,
// whose rest is under 2^-57.
inline double exp_of_nonpositive(double x) {
  constexpr double kLowest = -700.0;
  constexpr double kLog2E = 1.4426950408889634;
  constexpr double kLn2High = 6.93147180369123816490e-01;  // 32 bits: times k it is exact
  constexpr double kLn2Low = 1.90821492927058770002e-10;
  constexpr double kRound = 0x1.8p52;  // adding it leaves the nearest integer in the low bits
  const double clamped = x > kLowest ? x : kLowest;
  const double shifted = clamped * kLog2E + kRound;
  const double k = shifted - kRound;
  const double r = (clamped - k * kLn2High) - k * kLn2Low;
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
  const auto value = std::bit_cast<double>(std::bit_cast<std::uint64_t>(p) + exponent);
  return x > kLowest ? value : 0.0;
}

}  // namespace edgewise::sampling
