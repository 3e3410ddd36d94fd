// Passes over all logits of a step: fast, and the same bits on every machine (plain arithmetic in a
// fixed order, no library functions whose last bit depends on the processor).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/elementary.h"
#include "base/ids.h"

namespace edgewise::sampling {

struct Highest {
  TokenId token = -1;  // the lowest id among equals
  float logit = 0.0F;
  bool has_nan = false;
};

Highest find_highest(std::span<const float> logits);

// Fills `likeliest` with the `count` likeliest tokens, likeliest first, lower ids first among equals;
// tokens of -infinity never.
void find_likeliest(std::span<const float> logits,
                    std::size_t count,
                    std::vector<TokenId>& likeliest);

// weights[i] = exp((logits[i] - top) * inverse_temperature), at most 1. Returns their sum.
double fill_weights(std::span<const float> logits,
                    float top,
                    double inverse_temperature,
                    std::vector<double>& weights);

// exp(x) for x <= 0, within 1.2 units in the last place; 0 below -700.
inline double exp_of_nonpositive(double x) {
  constexpr double kLowest = -700.0;
  const double value = elementary::exp_within_708(x > kLowest ? x : kLowest);
  return x > kLowest ? value : 0.0;
}

}  // namespace edgewise::sampling
