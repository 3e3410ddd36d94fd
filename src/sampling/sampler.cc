#include "sampling/sampler.h"

#include <cmath>
#include <utility>

#include "base/elementary.h"
#include "sampling/logit_scan.h"
#include "sampling/penalties.h"
#include "sampling/philox.h"
#include "sampling/truncation.h"

namespace edgewise::sampling {

namespace {

// What a draw needs while it is made. A thread's sequences draw one after another and share it: of large vocabularies it is
// megabytes.
struct Scratch {
  Truncation truncation;
  std::vector<double> weights;     // for log-probabilities
  std::vector<TokenId> likeliest;  // likewise
};

Scratch& scratch() {
  thread_local Scratch of_thread;
  return of_thread;
}

}  // namespace

struct Sampler::Impl {
  SamplingParams params;
  std::unique_ptr<GrammarMatcher> matcher;
  Penalties penalties;

  void apply_bias(std::span<float> logits) const {
    for (const auto& [token, bias] : params.logit_bias) {
      if (token >= 0 && token < std::ssize(logits)) {
        logits[static_cast<std::size_t>(token)] += bias;
      }
    }
  }

  Highest adjust(std::span<float> logits) const {
    apply_bias(logits);
    penalties.apply(logits);
    return find_highest(logits);
  }

  TokenId draw(std::span<float> logits, const Highest& highest, std::int64_t position) const {
    return params.temperature > 0.0F
               ? pick(scratch().truncation.apply(params, logits, highest.logit),
                      uniform(params.seed, position))
               : highest.token;
  }

  Error no_token() const {
    if (matcher != nullptr) {
      return {ErrorCode::kInvalidArgument, "the grammar allows no token here"};
    }
    return {ErrorCode::kInvalidArgument,
            "every token is excluded (logit_bias, min_tokens): nothing can be drawn"};
  }

  // From the distribution before temperature and truncation.
  void add_logprobs(std::span<const float> logits, float top, Draw& draw) const {
    std::vector<double>& weights = scratch().weights;
    std::vector<TokenId>& likeliest = scratch().likeliest;
    const double normalizer =
        static_cast<double>(top) + elementary::log(fill_weights(logits, top, 1.0, weights));
    const auto logprob = [&](TokenId token) {
      return static_cast<float>(static_cast<double>(logits[static_cast<std::size_t>(token)]) -
                                normalizer);
    };
    draw.logprob = logprob(draw.token);
    find_likeliest(logits, static_cast<std::size_t>(params.top_logprobs), likeliest);
    for (const TokenId token : likeliest) {
      draw.alternatives.push_back({token, logprob(token)});
    }
  }
};

Sampler::Sampler(SamplingParams params,
                 std::span<const TokenId> prompt,
                 std::unique_ptr<GrammarMatcher> matcher) {
  Penalties penalties(params, prompt);
  impl_ = std::make_unique<Impl>(Impl{std::move(params), std::move(matcher), std::move(penalties)});
}

Sampler::~Sampler() = default;

Result<Draw> Sampler::sample(std::span<float> logits, std::int64_t position) {
  Impl& impl = *impl_;
  if (impl.matcher != nullptr && !TRY(impl.matcher->mask(logits))) {
    return tl::unexpected(impl.no_token());
  }
  const Highest highest = impl.adjust(logits);
  if (highest.has_nan || std::isinf(highest.logit)) {
    if (!highest.has_nan && highest.logit < 0.0F) {
      return tl::unexpected(impl.no_token());
    }
    return fail(ErrorCode::kInternal,
                "the model's output is not a number; its weights may be damaged");
  }
  Draw draw;
  draw.token = impl.draw(logits, highest, position);
  if (impl.params.top_logprobs >= 0) {
    impl.add_logprobs(logits, highest.logit, draw);
  }
  return draw;
}

TokenId Sampler::guess(std::span<float> logits, std::int64_t position) {
  const Highest highest = impl_->adjust(logits);
  if (highest.has_nan || std::isinf(highest.logit)) {
    return -1;
  }
  return impl_->draw(logits, highest, position);
}

// Greedy takes the first, top-k cuts to the k first before all else; bias, penalties, grammars and log-probabilities come
// before either and look at all.
std::int64_t Sampler::largest_needed() const {
  const SamplingParams& params = impl_->params;
  if (impl_->matcher != nullptr || !params.logit_bias.empty() || impl_->penalties.is_active() ||
      params.top_logprobs >= 0) {
    return 0;
  }
  return params.temperature > 0.0F ? params.top_k : 1;
}

Result<void> Sampler::accept(TokenId token) {
  impl_->penalties.add(token);
  return impl_->matcher != nullptr ? impl_->matcher->accept(token) : Result<void>();
}

bool Sampler::grammar_is_complete() const {
  return impl_->matcher != nullptr && impl_->matcher->is_complete();
}

}  // namespace edgewise::sampling
