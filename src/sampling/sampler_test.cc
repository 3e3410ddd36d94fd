#include "sampling/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "sampling/philox.h"

namespace edgewise::sampling {
namespace {

// Random123's known-answer vectors (kat_vectors, philox4x32 10).
TEST(Philox, MatchesThePublishedVectors) {
  using Counter = std::array<std::uint32_t, 4>;
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

std::vector<float> random_logits(std::size_t count, unsigned seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0.0F, 3.0F);
  std::vector<float> logits(count);
  std::generate(logits.begin(), logits.end(), [&] { return normal(rng); });
  return logits;
}

TokenId draw(const SamplingParams& params, std::vector<float> logits, std::int64_t position, std::span<const TokenId> prompt = {}) {
  Sampler sampler(params, prompt, nullptr);
  return sampler.sample(logits, position).value().token;
}

// The tokens a truncation leaves, by sorting everything.
std::set<TokenId> nucleus(const std::vector<float>& logits, double top_p) {
  std::vector<TokenId> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto at = [&](TokenId t) { return static_cast<double>(logits[static_cast<std::size_t>(t)]); };
  std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) { return at(a) > at(b); });
  double total = 0;
  for (const TokenId t : order) {
    total += std::exp(at(t));
  }
  std::set<TokenId> kept;
  double held = 0;
  for (const TokenId t : order) {
    kept.insert(t);
    held += std::exp(at(t)) / total;
    if (held >= top_p) {
      break;
    }
  }
  return kept;
}

TEST(Sampler, GreedyTakesTheLowestOfEqualMaxima) {
  SamplingParams params;
  params.temperature = 0;
  EXPECT_EQ(draw(params, {1, 5, 5, 2}, 0), 1);
}

TEST(Sampler, FrequenciesFollowTheSoftmaxAtTheTemperature) {
  const std::vector<float> logits = {0.0F, 1.0F, 2.0F, -1.0F};
  SamplingParams params;
  params.temperature = 0.7F;
  params.seed = 42;
  constexpr int kDraws = 40000;
  std::map<TokenId, int> counts;
  for (int i = 0; i < kDraws; ++i) {
    ++counts[draw(params, logits, i)];
  }
  double total = 0;
  for (const float x : logits) {
    total += std::exp(static_cast<double>(x) / 0.7);
  }
  double chi_squared = 0;
  for (std::size_t t = 0; t < logits.size(); ++t) {
    const double expected = kDraws * std::exp(static_cast<double>(logits[t]) / 0.7) / total;
    chi_squared += std::pow(counts[static_cast<TokenId>(t)] - expected, 2) / expected;
  }
  EXPECT_LT(chi_squared, 16.27);  // 3 degrees of freedom, p = 0.001
}

TEST(Sampler, TopPDrawsExactlyFromTheNucleus) {
  for (const float top_p : {0.1F, 0.5F, 0.9F, 0.99F}) {
    const std::vector<float> logits = random_logits(2000, 5);
    const std::set<TokenId> expected = nucleus(logits, static_cast<double>(top_p));
    SamplingParams params;
    params.top_p = top_p;
    std::set<TokenId> drawn;
    for (int i = 0; i < 3000; ++i) {
      const TokenId token = draw(params, logits, i);
      ASSERT_TRUE(expected.contains(token)) << token;
      drawn.insert(token);
    }
    if (expected.size() < 20) {
      EXPECT_EQ(drawn, expected);
    }
  }
}

TEST(Sampler, TopKAndMinPKeepOnlyTheLikeliest) {
  const std::vector<float> logits = random_logits(500, 6);
  std::vector<float> sorted = logits;
  std::sort(sorted.rbegin(), sorted.rend());
  SamplingParams top_k;
  top_k.top_k = 5;
  SamplingParams min_p;
  min_p.min_p = 0.2F;
  for (int i = 0; i < 2000; ++i) {
    EXPECT_GE(logits[static_cast<std::size_t>(draw(top_k, logits, i))], sorted[4]);
    EXPECT_GE(std::exp(logits[static_cast<std::size_t>(draw(min_p, logits, i))] - sorted[0]), 0.1999F);
  }
}

TEST(Sampler, TypicalKeepsTheTokensNearestTheEntropy) {
  // Entropy of (0.6, 0.3, 0.1) is 0.898; the informations are 0.51, 1.20, 2.30: the second is nearest.
  SamplingParams params;
  params.typical_p = 0.2F;
  const std::vector<float> logits = {std::log(0.6F), std::log(0.3F), std::log(0.1F)};
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(draw(params, logits, i), 1);
  }
}

TEST(Sampler, SameSeedAndPositionDrawTheSameToken) {
  SamplingParams params;
  params.seed = 7;
  std::set<TokenId> drawn;
  for (int i = 0; i < 50; ++i) {
    const std::vector<float> logits = random_logits(300, 9);
    EXPECT_EQ(draw(params, logits, i), draw(params, logits, i));
    drawn.insert(draw(params, logits, i));
  }
  EXPECT_GT(drawn.size(), 5U);
}

TEST(Sampler, PenaltiesActOnWhatWasSaid) {
  SamplingParams params;
  params.temperature = 0;
  params.repetition_penalty = 2.0F;
  const std::vector<TokenId> prompt = {1, 1};
  EXPECT_EQ(draw(params, {1.0F, 1.5F, 0.0F}, 0, prompt), 0);   // 1.5 / 2 < 1
  EXPECT_EQ(draw(params, {-1.5F, -1.0F, -9.0F}, 0, prompt), 0);  // -1 * 2 < -1.5
  SamplingParams presence;
  presence.temperature = 0;
  presence.presence_penalty = 1.0F;
  Sampler sampler(presence, prompt, nullptr);
  std::vector<float> logits = {1.0F, 1.5F};
  EXPECT_EQ(sampler.sample(logits, 0)->token, 1);  // the prompt does not count
  ASSERT_TRUE(sampler.accept(1).has_value());
  logits = {1.0F, 1.5F};
  EXPECT_EQ(sampler.sample(logits, 1)->token, 0);
}

TEST(Sampler, LogprobsAreThoseOfTheSoftmax) {
  SamplingParams params;
  params.temperature = 0;
  params.top_logprobs = 2;
  std::vector<float> logits = {std::log(0.5F), std::log(0.2F), std::log(0.3F)};
  Sampler sampler(params, {}, nullptr);
  const Draw drawn = sampler.sample(logits, 0).value();
  EXPECT_NEAR(drawn.logprob, std::log(0.5F), 1e-6);
  ASSERT_EQ(drawn.alternatives.size(), 2U);
  EXPECT_EQ(drawn.alternatives[1].token, 2);
  EXPECT_NEAR(drawn.alternatives[1].logprob, std::log(0.3F), 1e-6);
}

TEST(Sampler, BrokenLogitsAreAnErrorNotACrash) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> logits = {0.0F, bad, 1.0F};
    Sampler sampler({}, {}, nullptr);
    EXPECT_FALSE(sampler.sample(logits, 0).has_value());
  }
}

TEST(SamplingParams, NamesTheFieldThatIsOutOfRange) {
  SamplingParams params;
  params.top_p = 1.5F;
  EXPECT_NE(validate(params).error().message.find("top_p"), std::string::npos);
  params.top_p = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(validate(params).has_value());
  EXPECT_TRUE(validate(SamplingParams{}).has_value());
}

}  // namespace
}  // namespace edgewise::sampling
