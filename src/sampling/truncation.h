// Which tokens may be drawn, and how likely: temperature, top-k, typical, top-p and min-p, in this
// order, each on what the one before left. Cost: a few passes over the vocabulary; only the head of
// the distribution is sorted.
#pragma once

#include <span>
#include <vector>

#include "base/ids.h"
#include "sampling/sampling_params.h"

namespace edgewise::sampling {

struct Candidate {
  TokenId token;
  double weight;  // unnormalized probability, 1 for the likeliest
};

class Truncation {
 public:
  // The candidates in token order, never empty. `logits` hold no NaN, `top` is their highest and
  // finite; the temperature is above 0. The result lives until the next call.
  std::span<const Candidate> apply(const SamplingParams& params,
                                   std::span<const float> logits,
                                   float top);

 private:
  void take_all(std::span<const float> logits);
  void take_head(double enough);

  std::vector<double> weights_;
  std::vector<Candidate> candidates_;
  std::vector<Candidate> scratch_;
};

// The candidate in which the `uniform` part (0 to 1) of all weight ends.
TokenId pick(std::span<const Candidate> candidates, double uniform);

}  // namespace edgewise::sampling
