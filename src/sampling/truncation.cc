// The truncations follow their papers: top-p (Holtzman et al. 2019, arXiv 1904.09751), locally
// typical (Meister et al. 2022, arXiv 2202.00666), min-p (Nguyen et al. 2024, arXiv 2407.01082).
#include "sampling/truncation.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "sampling/logit_scan.h"

namespace edgewise::sampling {
namespace {

double total_of(std::span<const Candidate> candidates) {
  double total = 0.0;
  for (const Candidate& c : candidates) {
    total += c.weight;
  }
  return total;
}

// The last item, in the order `before`, of those that together hold `enough` weight: a quickselect
// by weight instead of by rank, so the cost is a few passes however many there are. `items` are
// scratch.
template <typename Item, typename Before>
Item find_last(std::vector<Item>& items, double enough, Before before) {
  const auto at = [&](std::size_t i) { return items.begin() + static_cast<std::ptrdiff_t>(i); };
  double held = 0.0;  // by items before `low`; the last item is in [low, high)
  std::size_t low = 0;
  std::size_t high = items.size();
  constexpr std::size_t kSortable = 64;
  while (high - low > kSortable) {
    const std::size_t middle = low + (high - low) / 2;
    std::nth_element(at(low), at(middle), at(high), before);
    double front = 0.0;
    for (std::size_t i = low; i < middle; ++i) {
      front += items[i].weight;
    }
    if (held + front >= enough) {
      high = middle;
    } else {
      held += front;
      low = middle;
    }
  }
  std::sort(at(low), at(high), before);
  for (std::size_t i = low; i < high; ++i) {
    held += items[i].weight;
    if (held >= enough) {
      return items[i];
    }
  }
  return items[high -
               1];  // rounding: [low, high) was to hold enough, and does but for the last bits
}

void keep_min_p(std::vector<Candidate>& candidates, double min_p) {
  double top = 0.0;
  for (const Candidate& c : candidates) {
    top = std::max(top, c.weight);
  }
  std::erase_if(candidates, [&](const Candidate& c) { return c.weight < min_p * top; });
}

}  // namespace

std::span<const Candidate> Truncation::apply(const SamplingParams& params,
                                             std::span<const float> logits,
                                             float top) {
  const Distribution distribution{logits, static_cast<double>(top),
                                  1.0 / static_cast<double>(params.temperature)};
  const auto top_p = static_cast<double>(params.top_p);
  const bool has_top_k = params.top_k > 0 && static_cast<std::size_t>(params.top_k) < logits.size();
  const std::size_t most = has_top_k ? static_cast<std::size_t>(params.top_k) : logits.size();
  candidates_.clear();
  candidates_.reserve(most);
  // Candidates stay in token order throughout, so that a draw does not depend on how they were
  // selected.
  if (has_top_k) {
    take_likeliest(most, distribution);
  } else {
    const double total = fill_weights(logits, top, distribution.inverse_temperature, weights_);
    if (params.typical_p < 1.0F || top_p == 1.0) {
      take_all(logits);
    } else {
      take_head(top_p * total);
    }
  }
  if (params.typical_p < 1.0F) {
    keep_typical(static_cast<double>(params.typical_p), distribution);
  }
  if (top_p < 1.0 && (has_top_k || params.typical_p < 1.0F)) {
    keep_share(top_p * total_of(candidates_));
  }
  if (params.min_p > 0.0F) {
    keep_min_p(candidates_, static_cast<double>(params.min_p));
  }
  return candidates_;
}

double Truncation::Distribution::log_weight(TokenId token) const {
  return (static_cast<double>(logits[static_cast<std::size_t>(token)]) - top) * inverse_temperature;
}

void Truncation::take_likeliest(std::size_t count, const Distribution& distribution) {
  find_likeliest(distribution.logits, count, likeliest_);
  std::sort(likeliest_.begin(), likeliest_.end());
  for (const TokenId token : likeliest_) {
    const double weight = exp_of_nonpositive(distribution.log_weight(token));
    if (weight > 0.0) {
      candidates_.push_back({token, weight});
    }
  }
}

void Truncation::take_all(std::span<const float> logits) {
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (weights_[i] > 0.0) {
      candidates_.push_back({static_cast<TokenId>(i), weights_[i]});
    }
  }
}

// The likeliest tokens that hold `enough` weight. The head of a language model's distribution is
// short: collecting what is within a factor of the likeliest nearly always gives enough, and there
// is little to sort.
void Truncation::take_head(double enough) {
  for (const double bar : {0x1p-6, 0x1p-14, 0.0}) {
    candidates_.clear();
    double held = 0.0;
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      if (weights_[i] > bar) {
        candidates_.push_back({static_cast<TokenId>(i), weights_[i]});
        held += weights_[i];
      }
    }
    if (held >= enough) {
      break;
    }
  }
  keep_share(enough);
}

void Truncation::keep_share(double enough) {
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
  };
  share_scratch_.reserve(candidates_.capacity());
  share_scratch_ = candidates_;
  const Candidate last = find_last(share_scratch_, enough, before);
  std::erase_if(candidates_, [&](const Candidate& c) { return before(last, c); });
}

// Keeps the tokens whose information -log p is closest to the distribution's entropy, until they
// hold `share`.
void Truncation::keep_typical(double share, const Distribution& distribution) {
  const double total = total_of(candidates_);
  double weighted_logs = 0.0;
  for (const Candidate& c : candidates_) {
    weighted_logs += c.weight * distribution.log_weight(c.token);
  }
  // entropy - (-log p), with p = weight / total: the logarithms of the total cancel
  const double mean_log = weighted_logs / total;
  distant_.clear();
  distant_.reserve(candidates_.capacity());
  for (const Candidate& c : candidates_) {
    distant_.push_back({std::abs(distribution.log_weight(c.token) - mean_log), c.weight, c.token});
  }
  const auto before = [](const Distant& a, const Distant& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.token < b.token;
  };
  distant_scratch_.reserve(distant_.capacity());
  distant_scratch_ = distant_;
  const Distant last = find_last(distant_scratch_, share * total, before);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < distant_.size(); ++i) {
    if (!before(last, distant_[i])) {
      candidates_[kept++] = candidates_[i];
    }
  }
  candidates_.resize(kept);
}

TokenId pick(std::span<const Candidate> candidates, double uniform) {
  double left = uniform * total_of(candidates);
  for (const Candidate& c : candidates) {
    left -= c.weight;
    if (left < 0.0) {
      return c.token;
    }
  }
  return candidates.back().token;  // rounding: the parts add up to a little less than the whole
}

}  // namespace edgewise::sampling
