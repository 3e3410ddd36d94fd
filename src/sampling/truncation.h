// Which tokens may be drawn, and how likely: temperature, top-k, typical, top-p and min-p, in this
// order, each on what the one before left. Cost: a few passes over the vocabulary; only the head of
// the distribution is sorted. Lists have room for the widest distribution from their first use on,
// so that draws allocate nothing.
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
  struct Distant {
    double distance;  // of a token's information from the distribution's entropy
    double weight;
    TokenId token;
  };

  // What a call draws from: log_weight is 0 for the likeliest token.
  struct Distribution {
    double log_weight(TokenId token) const;

    std::span<const float> logits;
    double top;  // the highest logit
    double inverse_temperature;
  };

  void take_likeliest(std::size_t count, const Distribution& distribution);
  void take_all(std::span<const float> logits);
  void take_head(double enough);
  void keep_share(double enough);
  void keep_typical(double share, const Distribution& distribution);

  std::vector<double> weights_;
  std::vector<TokenId> likeliest_;
  std::vector<Candidate> candidates_;
  std::vector<Candidate> share_scratch_;
  std::vector<Distant> distant_;
  std::vector<Distant> distant_scratch_;
};

// The candidate in which the `uniform` part (0 to 1) of all weight ends.
TokenId pick(std::span<const Candidate> candidates, double uniform);

}  // namespace edgewise::sampling
