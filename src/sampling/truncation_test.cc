#include "sampling/truncation.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <random>
#include <string>

#include "sampling/logit_scan.h"

namespace edgewise::sampling {
namespace {

constexpr float kExcluded = -std::numeric_limits<float>::infinity();

float highest(const std::vector<float>& logits) {
  return *std::max_element(logits.begin(), logits.end());
}

SamplingParams params_of(const boost::json::object& json) {
  SamplingParams params;
  const auto read = [&](const char* name, float& field) {
    if (const auto* value = json.if_contains(name)) {
      field = value->to_number<float>();
    }
  };
  read("temperature", params.temperature);
  read("top_p", params.top_p);
  read("min_p", params.min_p);
  read("typical_p", params.typical_p);
  if (const auto* value = json.if_contains("top_k")) {
    params.top_k = value->to_number<int>();
  }
  return params;
}

// What transformers' definitions leave (tests/golden/make_sampling_vectors.py).
TEST(Truncation, LeavesWhatTransformersLeaves) {
  std::ifstream file(EDGEWISE_SOURCE_DIR "/tests/golden/sampling_vectors.json");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto vectors = boost::json::parse(text);
  Truncation truncation;
  int cases = 0;
  for (const auto& entry : vectors.at("cases").as_array()) {
    std::vector<float> logits;
    for (const auto& logit : entry.at("logits").as_array()) {
      logits.push_back(logit.is_null() ? kExcluded : logit.to_number<float>());
    }
    const auto& params = entry.at("params").as_object();
    const auto kept = truncation.apply(params_of(params), logits, highest(logits));
    double total = 0.0;
    for (const Candidate& c : kept) {
      total += c.weight;
    }
    const auto& expected = entry.at("kept").as_object();
    ASSERT_EQ(kept.size(), expected.size()) << boost::json::serialize(params);
    for (const Candidate& c : kept) {
      const auto* probability = expected.if_contains(std::to_string(c.token));
      ASSERT_NE(probability, nullptr) << c.token;
      EXPECT_NEAR(c.weight / total / probability->to_number<double>(), 1.0, 1e-9);
    }
    ++cases;
  }
  EXPECT_EQ(cases, 60);
}

// The same, written differently: long doubles, everything sorted, no shared code.
std::map<TokenId, long double> reference(const SamplingParams& params,
                                         const std::vector<float>& logits) {
  struct Item {
    TokenId token;
    long double p;
  };

  std::vector<Item> items;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] != kExcluded) {
      const long double scaled =
          (static_cast<long double>(logits[i]) - static_cast<long double>(highest(logits)));
      items.push_back({static_cast<TokenId>(i),
                       std::exp(scaled / static_cast<long double>(params.temperature))});
    }
  }
  std::stable_sort(items.begin(), items.end(),
                   [](const Item& a, const Item& b) { return a.p > b.p; });
  const auto normalize = [&] {
    long double total = 0;
    for (const Item& item : items) {
      total += item.p;
    }
    for (Item& item : items) {
      item.p /= total;
    }
  };
  if (params.top_k > 0) {
    items.resize(std::min(items.size(), static_cast<std::size_t>(params.top_k)));
  }
  normalize();
  if (params.top_p < 1.0F) {
    long double held = 0;
    std::size_t kept = 0;
    while (kept < items.size() && (kept == 0 || held < static_cast<long double>(params.top_p))) {
      held += items[kept++].p;
    }
    items.resize(kept);
    normalize();
  }
  std::erase_if(items, [&](const Item& item) {
    return item.p < static_cast<long double>(params.min_p) * items[0].p;
  });
  normalize();
  std::map<TokenId, long double> result;
  for (const Item& item : items) {
    result[item.token] = item.p;
  }
  return result;
}

RC_GTEST_PROP(Truncation, AgreesWithSortingEverything, ()) {
  std::mt19937_64 rng(*rc::gen::arbitrary<std::uint64_t>());
  const auto count = *rc::gen::inRange<std::size_t>(1, 3000);
  std::normal_distribution<float> normal(0.0F, *rc::gen::element(0.01F, 1.0F, 5.0F));
  std::vector<float> logits(count);
  std::generate(logits.begin(), logits.end(), [&] { return normal(rng); });
  if (*rc::gen::arbitrary<bool>()) {
    logits[rng() % count] = kExcluded;
    logits[rng() % count] = 3.0F;
  }
  SamplingParams params;
  params.temperature = *rc::gen::element(0.05F, 0.8F, 1.0F, 3.0F);
  params.top_k = *rc::gen::element(0, 0, 1, 17, 100000);
  params.top_p = *rc::gen::element(1.0F, 0.0F, 0.3F, 0.9F, 0.999F);
  params.min_p = *rc::gen::element(0.0F, 0.05F, 1.0F);
  Truncation truncation;
  const auto kept = truncation.apply(params, logits, highest(logits));
  const auto expected = reference(params, logits);
  double total = 0.0;
  for (const Candidate& c : kept) {
    total += c.weight;
  }
  long double different =
      0.0;  // probability that is on one side only: rounding at the last token's border
  for (const Candidate& c : kept) {
    const auto found = expected.find(c.token);
    different += std::abs(c.weight / total - (found == expected.end() ? 0.0L : found->second));
  }
  for (const auto& [token, p] : expected) {
    const bool is_kept =
        std::any_of(kept.begin(), kept.end(), [&](const Candidate& c) { return c.token == token; });
    different += is_kept ? 0.0L : p;
  }
  RC_ASSERT(different < 1e-9L);
}

// Chi-square of draws from a truncated distribution over a vocabulary of a model's size.
TEST(Truncation, DrawsFollowTheWeights) {
  std::mt19937 rng(11);
  std::normal_distribution<float> normal(0.0F, 2.5F);
  std::vector<float> logits(50000);
  std::generate(logits.begin(), logits.end(), [&] { return normal(rng); });
  SamplingParams params;
  params.top_p = 0.8F;
  params.top_k = 200;
  Truncation truncation;
  const auto kept = truncation.apply(params, logits, highest(logits));
  ASSERT_GT(kept.size(), 20U);
  std::map<TokenId, int> counts;
  constexpr int kDraws = 200000;
  std::uniform_real_distribution<double> uniform(0.0, 1.0);
  for (int i = 0; i < kDraws; ++i) {
    ++counts[pick(kept, uniform(rng))];
  }
  double total = 0.0;
  for (const Candidate& c : kept) {
    total += c.weight;
  }
  double chi_squared = 0.0;
  for (const Candidate& c : kept) {
    const double expected = kDraws * c.weight / total;
    chi_squared += (counts[c.token] - expected) * (counts[c.token] - expected) / expected;
  }
  const double freedom = static_cast<double>(kept.size()) - 1.0;
  EXPECT_LT(chi_squared,
            freedom + 4.0 * std::sqrt(2.0 * freedom));  // mean and four standard deviations
}

TEST(Truncation, PickCoversTheWholeRange) {
  const std::vector<Candidate> candidates = {{3, 1.0}, {5, 1.0}, {9, 2.0}};
  EXPECT_EQ(pick(candidates, 0.0), 3);
  EXPECT_EQ(pick(candidates, 0.25), 5);
  EXPECT_EQ(pick(candidates, 0.4999), 5);
  EXPECT_EQ(pick(candidates, 0.5), 9);
  EXPECT_EQ(pick(candidates, 1.0), 9);
}

TEST(LogitScan, ExponentialIsAccurate) {
  double worst = 0.0;
  std::mt19937_64 rng(1);
  std::uniform_real_distribution<double> uniform(-60.0, 0.0);
  for (int i = 0; i < 200000; ++i) {
    const double x = uniform(rng);
    worst = std::max(worst, std::abs(exp_of_nonpositive(x) / std::exp(x) - 1.0));
  }
  EXPECT_LT(worst, 5e-16);  // two units in the last place
  EXPECT_EQ(exp_of_nonpositive(0.0), 1.0);
  EXPECT_EQ(exp_of_nonpositive(-std::numeric_limits<double>::infinity()), 0.0);
  EXPECT_GT(exp_of_nonpositive(-699.0), 0.0);
}

RC_GTEST_PROP(LogitScan, FindsWhatSortingFinds, ()) {
  std::mt19937_64 rng(*rc::gen::arbitrary<std::uint64_t>());
  const auto count = *rc::gen::inRange<std::size_t>(1, 400);
  std::vector<float> logits(count);
  const int values = *rc::gen::element(1, 3, 1000);  // few values: many ties
  std::generate(logits.begin(), logits.end(), [&] {
    const auto value = static_cast<int>(rng() % static_cast<unsigned>(values));
    return value == 0 ? kExcluded : static_cast<float>(value);
  });
  std::vector<TokenId> order(count);
  for (std::size_t i = 0; i < count; ++i) {
    order[i] = static_cast<TokenId>(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) {
    return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
  });
  const Highest found = find_highest(logits);
  RC_ASSERT(found.token == order[0]);
  std::erase_if(
      order, [&](TokenId token) { return logits[static_cast<std::size_t>(token)] == kExcluded; });
  const auto wanted = *rc::gen::inRange<std::size_t>(0, 500);
  order.resize(std::min(order.size(), wanted));
  std::vector<TokenId> likeliest = {7};  // from before
  find_likeliest(logits, wanted, likeliest);
  RC_ASSERT(likeliest == order);
}

TEST(LogitScan, SeesNanAnywhere) {
  for (std::size_t at = 0; at < 40; ++at) {
    std::vector<float> logits(40, 1.0F);
    logits[at] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_TRUE(find_highest(logits).has_nan) << at;
  }
  EXPECT_FALSE(find_highest(std::vector<float>(40, kExcluded)).has_nan);
}

}  // namespace
}  // namespace edgewise::sampling
