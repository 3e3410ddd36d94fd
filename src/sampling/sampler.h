// Draws tokens for one sequence. Owned by the engine thread.
//
// Order of operations: grammar mask, logit bias, penalties, (log-probabilities are taken here, from
// the model's distribution after bias and penalties, before truncation), temperature, top-k,
// typical, top-p, min-p, draw. The random number of a draw is a function of (seed, position) only
// (Philox 4x32-10), so the same seed gives the same text alone or beside others, and a rolled-back
// draw repeats itself.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "sampling/grammar.h"
#include "sampling/sampling_params.h"

namespace edgewise::sampling {

struct TokenLogprob {
  TokenId token = -1;
  float logprob = 0.0F;
};

struct Draw {
  TokenId token = -1;
  float logprob = 0.0F;  // meaningful when top_logprobs >= 0
  std::vector<TokenLogprob>
      alternatives;  // descending; top_logprobs of them, or all that can be drawn
};

class Sampler {
 public:
  // `prompt`: for the repetition penalty. `matcher`: nullptr when unconstrained.
  Sampler(SamplingParams params,
          std::span<const TokenId> prompt,
          std::unique_ptr<GrammarMatcher> matcher);
  ~Sampler();

  // Draws the token at `position` (absolute, prompt included) from `logits` [V], which are used as
  // scratch. Fails when no token is left to draw (grammar, bias, excluded ends) or when logits are
  // NaN or infinite.
  Result<Draw> sample(std::span<float> logits, std::int64_t position);

  // The token that sample() would draw from these logits [V] (scratch), but for grammar and for
  // penalties of tokens that were not accepted yet; -1: none. From a similar model's logits that is
  // often what sample() draws, because the random number is the same.
  TokenId guess(std::span<float> logits, std::int64_t position);

  // How many of the largest logits, with all ties of the last one, decide every draw: the others may then be -infinity.
  // 0: all do.
  std::int64_t largest_needed() const;

  // Tells the sampler that `token` was appended (by sample() or forced), for penalties and grammar.
  Result<void> accept(TokenId token);

  bool grammar_is_complete() const;  // the grammar allows nothing but the end

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace edgewise::sampling
