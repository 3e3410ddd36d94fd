// Truncations follow their papers: top-p (Holtzman et al. 2019, arXiv 1904.09751), locally typical (Meister et al.
// 2022, arXiv 2202.00666), min-p (Nguyen et al. 2024, arXiv 2407.01082); repetition penalty of CTRL (Keskar et al. 2019,
// arXiv 1909.05858).
#include "sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "sampling/philox.h"

namespace edgewise::sampling {
namespace {

struct Candidate {
  TokenId token;
  double weight;  // unnormalized probability, 1 for the likeliest
};

bool before(const Candidate& a, const Candidate& b) { return a.weight != b.weight ? a.weight > b.weight : a.token < b.token; }

double total_of(std::span<const Candidate> candidates) {
  double total = 0.0;
  for (const Candidate& c : candidates) {
    total += c.weight;
  }
  return total;
}

TokenId highest(std::span<const float> logits) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < logits.size(); ++i) {
    if (logits[i] > logits[best]) {
      best = i;
    }
  }
  return static_cast<TokenId>(best);
}

// Sorts the likeliest candidates to the front until they hold `share` of all weight, and drops the rest.
void keep_share(std::vector<Candidate>& candidates, double share) {
  const double enough = share * total_of(candidates);
  double held = 0.0;
  std::size_t sorted = 0;
  std::size_t chunk = 64;  // nearly always enough: the head of a language model's distribution is short
  while (sorted < candidates.size()) {
    const std::size_t end = std::min(candidates.size(), sorted + chunk);
    const auto from = candidates.begin() + static_cast<std::ptrdiff_t>(sorted);
    const auto to = candidates.begin() + static_cast<std::ptrdiff_t>(end);
    std::nth_element(from, to == candidates.end() ? to - 1 : to, candidates.end(), before);
    std::sort(from, to, before);
    for (; sorted < end; ++sorted) {
      held += candidates[sorted].weight;
      if (held >= enough) {
        candidates.resize(sorted + 1);
        return;
      }
    }
    chunk *= 4;
  }
}

void keep_top_k(std::vector<Candidate>& candidates, std::size_t k) {
  if (k < candidates.size()) {
    std::nth_element(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(k), candidates.end(), before);
    candidates.resize(k);
  }
}

void keep_min_p(std::vector<Candidate>& candidates, double min_p) {
  double top = 0.0;
  for (const Candidate& c : candidates) {
    top = std::max(top, c.weight);
  }
  std::erase_if(candidates, [&](const Candidate& c) { return c.weight < min_p * top; });
}

// Keeps the tokens whose information is closest to the distribution's entropy, until they hold `share`.
void keep_typical(std::vector<Candidate>& candidates, double share) {
  const double total = total_of(candidates);
  double entropy = 0.0;
  for (const Candidate& c : candidates) {
    const double p = c.weight / total;
    entropy -= p > 0.0 ? p * std::log(p) : 0.0;
  }
  const auto distance = [&](const Candidate& c) { return std::abs(-std::log(std::max(c.weight / total, 1e-300)) - entropy); };
  std::sort(candidates.begin(), candidates.end(), [&](const Candidate& a, const Candidate& b) {
    const double da = distance(a);
    const double db = distance(b);
    return da != db ? da < db : a.token < b.token;
  });
  double held = 0.0;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    held += candidates[i].weight;
    if (held >= share * total) {
      candidates.resize(i + 1);
      return;
    }
  }
}

}  // namespace

struct Sampler::Impl {
  SamplingParams params;
  std::unique_ptr<GrammarMatcher> matcher;
  std::vector<TokenId> history;  // prompt and answer
  std::unordered_map<TokenId, std::int64_t> answer_counts;
  std::vector<Candidate> candidates;

  void apply_penalties(std::span<float> logits) const {
    for (const auto& [token, bias] : params.logit_bias) {
      if (token < std::ssize(logits)) {
        logits[static_cast<std::size_t>(token)] += bias;
      }
    }
    if (params.repetition_penalty != 1.0F) {
      penalize_repetition(logits);
    }
    if (params.presence_penalty != 0.0F || params.frequency_penalty != 0.0F) {
      for (const auto& [token, count] : answer_counts) {
        logits[static_cast<std::size_t>(token)] -= params.presence_penalty + params.frequency_penalty * static_cast<float>(count);
      }
    }
  }

  void penalize_repetition(std::span<float> logits) const {
    const std::size_t window = params.repetition_window < 0 ? history.size() : std::min(history.size(), static_cast<std::size_t>(params.repetition_window));
    std::vector<TokenId> seen(history.end() - static_cast<std::ptrdiff_t>(window), history.end());
    std::sort(seen.begin(), seen.end());
    seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
    for (const TokenId token : seen) {
      float& logit = logits[static_cast<std::size_t>(token)];
      logit = logit > 0.0F ? logit / params.repetition_penalty : logit * params.repetition_penalty;
    }
  }

  void add_logprobs(std::span<const float> logits, float top, Draw& draw) {
    double total = 0.0;
    for (const float x : logits) {
      total += std::exp(static_cast<double>(x) - static_cast<double>(top));
    }
    const double normalizer = static_cast<double>(top) + std::log(total);
    const auto logprob = [&](TokenId token) { return static_cast<float>(static_cast<double>(logits[static_cast<std::size_t>(token)]) - normalizer); };
    draw.logprob = logprob(draw.token);
    if (params.top_logprobs <= 0) {
      return;
    }
    std::vector<TokenId> order(logits.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
      order[i] = static_cast<TokenId>(i);
    }
    const auto count = std::min<std::ptrdiff_t>(params.top_logprobs, std::ssize(order));
    std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](TokenId a, TokenId b) {
      const float la = logits[static_cast<std::size_t>(a)];
      const float lb = logits[static_cast<std::size_t>(b)];
      return la != lb ? la > lb : a < b;
    });
    for (std::ptrdiff_t i = 0; i < count; ++i) {
      draw.alternatives.push_back({order[static_cast<std::size_t>(i)], logprob(order[static_cast<std::size_t>(i)])});
    }
  }

  TokenId draw_token(std::span<const float> logits, float top, std::int64_t position) {
    const double inverse = 1.0 / static_cast<double>(params.temperature);
    candidates.clear();
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const double scaled = (static_cast<double>(logits[i]) - static_cast<double>(top)) * inverse;
      if (scaled > -700.0) {  // below, exp() is 0 in doubles
        candidates.push_back({static_cast<TokenId>(i), std::exp(scaled)});
      }
    }
    if (params.top_k > 0) {
      keep_top_k(candidates, static_cast<std::size_t>(params.top_k));
    }
    if (params.typical_p < 1.0F) {
      keep_typical(candidates, static_cast<double>(params.typical_p));
    }
    if (params.top_p < 1.0F) {
      keep_share(candidates, static_cast<double>(params.top_p));
    }
    if (params.min_p > 0.0F) {
      keep_min_p(candidates, static_cast<double>(params.min_p));
    }
    // In token order, so that the draw does not depend on how the truncations left them.
    std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) { return a.token < b.token; });
    double left = uniform(params.seed, position) * total_of(candidates);
    for (const Candidate& c : candidates) {
      left -= c.weight;
      if (left < 0.0) {
        return c.token;
      }
    }
    return candidates.back().token;
  }
};

Sampler::Sampler(SamplingParams params, std::span<const TokenId> prompt, std::unique_ptr<GrammarMatcher> matcher)
    : impl_(std::make_unique<Impl>()) {
  impl_->params = std::move(params);
  impl_->matcher = std::move(matcher);
  impl_->history.assign(prompt.begin(), prompt.end());
}

Sampler::~Sampler() = default;

Result<Draw> Sampler::sample(std::span<float> logits, std::int64_t position) {
  Impl& impl = *impl_;
  if (impl.matcher != nullptr && !TRY(impl.matcher->mask(logits))) {
    return fail(ErrorCode::kInvalidArgument, "the grammar allows no token here");
  }
  impl.apply_penalties(logits);
  Draw draw;
  draw.token = highest(logits);
  const float top = logits[static_cast<std::size_t>(draw.token)];
  if (!std::isfinite(top) || std::any_of(logits.begin(), logits.end(), [](float x) { return std::isnan(x); })) {
    return fail(ErrorCode::kInternal, "the model's output is not a number; its weights may be damaged");
  }
  if (impl.params.temperature > 0.0F) {
    draw.token = impl.draw_token(logits, top, position);
  }
  if (impl.params.top_logprobs >= 0) {
    impl.add_logprobs(logits, top, draw);
  }
  return draw;
}

Result<void> Sampler::accept(TokenId token) {
  impl_->history.push_back(token);
  ++impl_->answer_counts[token];
  if (impl_->matcher != nullptr) {
    return impl_->matcher->accept(token);
  }
  return {};
}

bool Sampler::grammar_is_complete() const { return impl_->matcher != nullptr && impl_->matcher->is_complete(); }

}  // namespace edgewise::sampling
