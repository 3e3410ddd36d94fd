// What was said before makes tokens less likely: repetition penalty over prompt and answer,
// presence and frequency penalties over the answer (as OpenAI defines them). One sequence's state;
// cost per step: the distinct tokens.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "sampling/sampling_params.h"

namespace edgewise::sampling {

class Penalties {
 public:
  Penalties(const SamplingParams& params, std::span<const TokenId> prompt);

  void add(TokenId token);  // of the answer
  void apply(std::span<float> logits) const;

  bool is_active() const { return repetition_ != 1.0F || presence_ != 0.0F || frequency_ != 0.0F; }

 private:
  void look_back_on(TokenId token);

  float repetition_;
  float presence_;
  float frequency_;
  std::size_t window_;            // tokens that the repetition penalty looks back on
  std::vector<TokenId> history_;  // those tokens as a ring, when the window is limited
  std::size_t oldest_ = 0;        // where the ring begins once it is full
  std::unordered_map<TokenId, std::int64_t> seen_;  // in the window
  std::unordered_map<TokenId, std::int64_t> answered_;
};

}  // namespace edgewise::sampling
