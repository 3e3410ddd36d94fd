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

void keep_share(std::vector<Candidate>& candidates,
                double enough,
                std::vector<Candidate>& scratch) {
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.weight != b.weight ? a.weight > b.weight : a.token < b.token;
  };
  scratch = candidates;
  const Candidate last = find_last(scratch, enough, before);
  std::erase_if(candidates, [&](const Candidate& c) { return before(last, c); });
}

void keep_min_p(std::vector<Candidate>& candidates, double min_p) {
  double top = 0.0;
  for (const Candidate& c : candidates) {
    top = std::max(top, c.weight);
  }
  std::erase_if(candidates, [&](const Candidate& c) { return c.weight < min_p * top; });
}

// Keeps the tokens whose information -log p is closest to the distribution's entropy, until they
// hold `share`. log_weight(token) is the logarithm of a candidate's weight.
template <typename LogWeight>
void keep_typical(std::vector<Candidate>& candidates, double share, LogWeight log_weight) {
  const double total = total_of(candidates);
  double weighted_logs = 0.0;
  for (const Candidate& c : candidates) {
    weighted_logs += c.weight * log_weight(c.token);
  }
  // entropy - (-log p), with p = weight / total: the logarithms of the total cancel
  const double mean_log = weighted_logs / total;

  struct Distant {
    double distance;
    double weight;
    TokenId token;
  };

  std::vector<Distant> distant;
  distant.reserve(candidates.size());
  for (const Candidate& c : candidates) {
    distant.push_back({std::abs(log_weight(c.token) - mean_log), c.weight, c.token});
  }
  const auto before = [](const Distant& a, const Distant& b) {
    return a.distance != b.distance ? a.distance < b.distance : a.token < b.token;
  };
  std::vector<Distant> scratch = distant;
  const Distant last = find_last(scratch, share * total, before);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < distant.size(); ++i) {
    if (!before(last, distant[i])) {
      candidates[kept++] = candidates[i];
    }
  }
  candidates.resize(kept);
}

}  // namespace

std::span<const Candidate> Truncation::apply(const SamplingParams& params,
                                             std::span<const float> logits,
                                             float top) {
  const double inverse_temperature = 1.0 / static_cast<double>(params.temperature);
  const auto log_weight = [&](TokenId token) {
    return (static_cast<double>(logits[static_cast<std::size_t>(token)]) -
            static_cast<double>(top)) *
           inverse_temperature;
  };
  const auto top_p = static_cast<double>(params.top_p);
  const bool has_top_k = params.top_k > 0 && static_cast<std::size_t>(params.top_k) < logits.size();
  candidates_.clear();
  // Candidates stay in token order throughout, so that a draw does not depend on how they were
  // selected.
  if (has_top_k) {
    std::vector<TokenId> likeliest = find_likeliest(logits, static_cast<std::size_t>(params.top_k));
    std::sort(likeliest.begin(), likeliest.end());
    for (const TokenId token : likeliest) {
      const double weight = exp_of_nonpositive(log_weight(token));
      if (weight > 0.0) {
        candidates_.push_back({token, weight});
      }
    }
  } else {
    const double total = fill_weights(logits, top, inverse_temperature, weights_);
    if (params.typical_p < 1.0F || top_p == 1.0) {
      take_all(logits);
    } else {
      take_head(top_p * total);
    }
  }
  if (params.typical_p < 1.0F) {
    keep_typical(candidates_, static_cast<double>(params.typical_p), log_weight);
  }
  if (top_p < 1.0 && (has_top_k || params.typical_p < 1.0F)) {
    keep_share(candidates_, top_p * total_of(candidates_), scratch_);
  }
  if (params.min_p > 0.0F) {
    keep_min_p(candidates_, static_cast<double>(params.min_p));
  }
  return candidates_;
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
  keep_share(candidates_, enough, scratch_);
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
