// The repetition penalty is that of CTRL (Keskar et al. 2019, arXiv 1909.05858): it divides
// positive logits and multiplies negative ones, once per token however often it was said.
#include "sampling/penalties.h"

#include <limits>

namespace edgewise::sampling {

Penalties::Penalties(const SamplingParams& params, std::span<const TokenId> prompt)
    : repetition_(params.repetition_penalty),
      presence_(params.presence_penalty),
      frequency_(params.frequency_penalty),
      window_(params.repetition_window < 0 ? std::numeric_limits<std::size_t>::max()
                                           : static_cast<std::size_t>(params.repetition_window)) {
  for (const TokenId token : prompt.last(std::min(prompt.size(), window_))) {
    look_back_on(token);
  }
}

void Penalties::add(TokenId token) {
  look_back_on(token);
  if (presence_ != 0.0F || frequency_ != 0.0F) {
    ++answered_[token];
  }
}

void Penalties::look_back_on(TokenId token) {
  if (repetition_ == 1.0F || window_ == 0) {
    return;
  }
  ++seen_[token];
  if (window_ == std::numeric_limits<std::size_t>::max()) {
    return;
  }
  if (history_.size() < window_) {
    history_.push_back(token);
    return;
  }
  const auto forgotten = seen_.find(history_[oldest_]);
  if (--forgotten->second == 0) {
    seen_.erase(forgotten);
  }
  history_[oldest_] = token;
  oldest_ = (oldest_ + 1) % window_;
}

void Penalties::apply(std::span<float> logits) const {
  const auto is_token = [&](TokenId token) { return token >= 0 && token < std::ssize(logits); };
  for (const auto& [token, count] : seen_) {
    if (is_token(token)) {
      float& logit = logits[static_cast<std::size_t>(token)];
      logit = logit > 0.0F ? logit / repetition_ : logit * repetition_;
    }
  }
  for (const auto& [token, count] : answered_) {
    if (is_token(token)) {
      logits[static_cast<std::size_t>(token)] -= presence_ + frequency_ * static_cast<float>(count);
    }
  }
}

}  // namespace edgewise::sampling
