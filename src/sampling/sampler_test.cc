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
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
            (Counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
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

TokenId draw(const SamplingParams& params,
             std::vector<float> logits,
             std::int64_t position,
             std::span<const TokenId> prompt = {}) {
  Sampler sampler(params, prompt, nullptr);
  return sampler.sample(logits, position).value().token;
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

TEST(Sampler, SameSeedAndPositionDrawTheSameToken) {
  SamplingParams params;
  params.seed = 7;
  std::set<TokenId> drawn;
  for (int i = 0; i < 50; ++i) {
    const std::vector<float> logits(300, 0.5F);
    EXPECT_EQ(draw(params, logits, i), draw(params, logits, i));
    drawn.insert(draw(params, logits, i));
  }
  EXPECT_GT(drawn.size(), 35U);  // of 300 equally likely ones, 50 times: 46 expected
}

TEST(Sampler, PenaltiesActOnWhatWasSaid) {
  SamplingParams params;
  params.temperature = 0;
  params.repetition_penalty = 2.0F;
  const std::vector<TokenId> prompt = {1, 1};
  EXPECT_EQ(draw(params, {1.0F, 1.5F, 0.0F}, 0, prompt), 0);     // 1.5 / 2 < 1
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
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> logits = {0.0F, bad, 1.0F};
    Sampler sampler({}, {}, nullptr);
    EXPECT_FALSE(sampler.sample(logits, 0).has_value());
  }
}

TEST(Sampler, NothingLeftToDrawIsAnError) {
  constexpr float kExcluded = -std::numeric_limits<float>::infinity();
  for (const float temperature : {0.0F, 1.0F}) {
    SamplingParams params;
    params.temperature = temperature;
    Sampler sampler(params, {}, nullptr);
    std::vector<float> none(100, kExcluded);
    EXPECT_EQ(sampler.sample(none, 0).error().code, ErrorCode::kInvalidArgument);
    std::vector<float> one(100, kExcluded);
    one[77] = -3.0F;
    EXPECT_EQ(sampler.sample(one, 0)->token, 77);
  }
}

TEST(Sampler, TokensOutsideTheVocabularyAreIgnored) {
  SamplingParams params;
  params.temperature = 0;
  params.repetition_penalty = 3.0F;
  params.presence_penalty = 1.0F;
  params.logit_bias = {{50, 100.0F}, {1, -5.0F}};
  const std::vector<TokenId> prompt = {7, -1, 100000};
  Sampler sampler(params, prompt, nullptr);
  ASSERT_TRUE(sampler.accept(99999).has_value());
  std::vector<float> logits = {1.0F, 2.0F, 1.5F};
  EXPECT_EQ(sampler.sample(logits, 0)->token, 2);
}

TEST(Sampler, RepetitionWindowForgets) {
  SamplingParams params;
  params.temperature = 0;
  params.repetition_penalty = 4.0F;
  params.repetition_window = 2;
  const std::vector<TokenId> prompt = {0, 1, 2};
  Sampler sampler(params, prompt, nullptr);
  const auto penalized = [&] {
    std::vector<float> logits(6, 8.0F);
    EXPECT_TRUE(sampler.sample(logits, 0).has_value());
    std::set<int> which;
    for (int i = 0; i < 6; ++i) {
      if (logits[static_cast<std::size_t>(i)] == 2.0F) {
        which.insert(i);
      }
    }
    return which;
  };
  EXPECT_EQ(penalized(), (std::set<int>{1, 2}));
  for (const TokenId token : {2, 3, 3, 4, 5}) {
    ASSERT_TRUE(sampler.accept(token).has_value());
  }
  EXPECT_EQ(penalized(), (std::set<int>{4, 5}));
}

// With the same random number, and it leaves no trace.
TEST(Sampler, GuessesWhatItWouldDraw) {
  for (const float temperature : {0.0F, 0.8F}) {
    SamplingParams params;
    params.temperature = temperature;
    params.seed = 5;
    params.top_p = 0.9F;
    params.presence_penalty = 0.5F;
    Sampler sampler(params, {}, nullptr);
    for (std::int64_t position = 0; position < 50; ++position) {
      std::vector<float> logits;
      for (int i = 0; i < 30; ++i) {
        logits.push_back(static_cast<float>((i * 37 + position * 11) % 17) * 0.3F);
      }
      std::vector<float> scratch = logits;
      const TokenId guess = sampler.guess(scratch, position);
      scratch = logits;
      const Result<Draw> draw = sampler.sample(scratch, position);
      ASSERT_TRUE(draw.has_value());
      EXPECT_EQ(guess, draw->token);
      ASSERT_TRUE(sampler.accept(draw->token).has_value());
    }
    std::vector<float> broken(10, std::nanf(""));
    EXPECT_EQ(sampler.guess(broken, 1), -1);
  }
}

TEST(Sampler, FrequencyPenaltyCounts) {
  SamplingParams params;
  params.temperature = 0;
  params.frequency_penalty = 0.5F;
  params.presence_penalty = 0.25F;
  Sampler sampler(params, {}, nullptr);
  for (const TokenId token : {1, 1, 1, 2}) {
    ASSERT_TRUE(sampler.accept(token).has_value());
  }
  std::vector<float> logits(4, 4.0F);
  ASSERT_TRUE(sampler.sample(logits, 0).has_value());
  EXPECT_EQ(logits, (std::vector<float>{4.0F, 2.25F, 3.25F, 4.0F}));
}

TEST(Sampler, AlternativesAreTheLikeliestAndNeverImpossible) {
  SamplingParams params;
  params.top_logprobs = 20;
  std::vector<float> logits = random_logits(5000, 3);
  std::vector<float> sorted = logits;
  std::sort(sorted.rbegin(), sorted.rend());
  Sampler sampler(params, {}, nullptr);
  const Draw drawn = sampler.sample(logits, 4).value();
  ASSERT_EQ(drawn.alternatives.size(), 20U);
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(logits[static_cast<std::size_t>(drawn.alternatives[i].token)], sorted[i]);
  }
  std::fill(logits.begin(), logits.end(), -std::numeric_limits<float>::infinity());
  logits[3] = 1.0F;
  logits[9] = 1.0F;
  const Draw narrow = sampler.sample(logits, 5).value();
  ASSERT_EQ(narrow.alternatives.size(), 2U);
  EXPECT_NEAR(narrow.alternatives[1].logprob, std::log(0.5), 1e-6);
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
