#include "speculation/draft_plan.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

namespace edgewise::speculation {
namespace {

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

steps::StepShape plain_step(std::int64_t sequences, std::int64_t position = 100) {
  steps::StepShape step;
  for (std::int64_t i = 0; i < sequences; ++i) {
    step.add(1, position, true);
  }
  return step;
}

// Costs as if measured: `seconds(rows)` for steps of up to 16 rows.
struct Measured {
  steps::StepTimes times{steps::StepCost(1.0, 0.1)};

  explicit Measured(const std::function<double(std::int64_t)>& seconds) {
    for (int round = 0; round < 200; ++round) {
      for (std::int64_t rows = 1; rows <= steps::FewRowsCost::kMostRows; ++rows) {
        const steps::StepShape shape = plain_step(rows);
        times.observe(shape, seconds(rows));
      }
    }
  }
};

TEST(DraftPlan, NoneWhereARowCostsAsMuchAsAStep) {
  const Measured measured([](std::int64_t rows) { return 0.01 * static_cast<double>(rows); });
  const std::vector<DraftOffer> offers{{100, {0.9, 0.8, 0.7}}};
  EXPECT_EQ(plan_drafts(offers, plain_step(1), 1, {}, measured.times).counts,
            (std::vector<std::int64_t>{0}));
}

TEST(DraftPlan, AllThatAreLikelyWhereRowsAreFreeAndNoneOverTheLimit) {
  const Measured measured([](std::int64_t) { return 0.01; });
  const std::vector<DraftOffer> offers{{100, {0.9, 0.05, 0.01}}, {100, {}}, {100, {0.5}}};
  EXPECT_EQ(plan_drafts(offers, plain_step(3), 3, {}, measured.times).counts,
            (std::vector<std::int64_t>{1, 0, 1}));
  EXPECT_EQ(plan_drafts(offers, plain_step(3), 3, {.seconds = 0.0}, measured.times).counts,
            (std::vector<std::int64_t>{0, 0, 0}));
}

// What a draft model has to get right: the tokens a second over plain ones, by the chance of each guess.
double gain(double chance, double draft_share, double row_share) {
  const double plain = 0.030;
  const Measured target(
      [&](std::int64_t rows) { return plain * (1.0 + row_share * static_cast<double>(rows - 1)); });
  const Measured draft([&](std::int64_t rows) {
    return plain * draft_share * (1.0 + 0.02 * static_cast<double>(rows - 1));
  });
  DraftOffer offer{.position = 100, .chances = {}, .is_computed = false, .missing = 2};
  double all = 1.0;
  for (int i = 0; i < 15; ++i) {
    offer.chances.push_back(all *= chance);
  }
  const DraftPlan plan =
      plan_drafts(std::vector{offer}, plain_step(1), 1, {}, target.times, &draft.times);
  return plan.rate() * plain;
}

// The draft model ten times as fast as the target, whose further rows cost a tenth of a step: each guess
// costs a fifth, so less than one in five right is no gain, and with half of them tokens come a quarter faster.
TEST(DraftPlan, WhatAcceptanceADraftModelNeeds) {
  EXPECT_NEAR(gain(0.15, 0.1, 0.1), 1.0, 1e-6);
  EXPECT_NEAR(gain(0.3, 0.1, 0.1), 1.3 / 1.2, 0.02);
  EXPECT_NEAR(gain(0.5, 0.1, 0.1), 1.75 / 1.4, 0.03);
  EXPECT_NEAR(gain(0.7, 0.1, 0.1), 2.53 / 1.6, 0.06);
  EXPECT_NEAR(gain(0.8, 0.1, 0.1), 3.36 / 1.8, 0.06);
  EXPECT_NEAR(gain(0.9, 0.1, 0.1), 5.695 / 2.4, 0.08);
  // Half as fast: nearly all have to be right.
  EXPECT_NEAR(gain(0.5, 0.5, 0.1), 1.0, 1e-6);
  EXPECT_NEAR(gain(0.7, 0.5, 0.1), 1.7 / 1.6, 0.03);
  EXPECT_NEAR(gain(0.8, 0.5, 0.1), 1.8 / 1.6, 0.03);
  EXPECT_NEAR(gain(0.9, 0.5, 0.1), 2.71 / 2.2, 0.04);
  EXPECT_NEAR(gain(0.99, 1.0, 0.1), 1.0, 1e-6);
}

// Two texts, of which one has no guesses: its tokens may come slower by a quarter, not more; where both have,
// the step may be longer.
TEST(DraftPlan, NobodysTokensComeMuchSlower) {
  const Measured measured(
      [](std::int64_t rows) { return 0.008 + 0.002 * static_cast<double>(rows); });
  const std::vector<double> chances = {0.95, 0.9, 0.85, 0.8, 0.75};
  const std::vector<DraftOffer> one{{100, chances}, {100, {}}};
  const std::vector<DraftOffer> both{{100, chances}, {100, chances}};
  const DraftLimits limits{.slowdown = 1.25};
  const double plain = measured.times.seconds(plain_step(2));
  const DraftPlan alone = plan_drafts(one, plain_step(2), 2, limits, measured.times);
  EXPECT_EQ(alone.counts, (std::vector<std::int64_t>{1, 0}));
  EXPECT_LE(alone.seconds, 1.25 * plain);
  const DraftPlan together = plan_drafts(both, plain_step(2), 2, limits, measured.times);
  EXPECT_GT(together.counts[0], 1);
  EXPECT_GT(together.counts[1], 1);
}

// Random costs and chances: no other distribution of drafts is better.
RC_GTEST_PROP(DraftPlanProperty, MaximizesTokensPerSecond, ()) {
  std::vector<double> stairs{0.0};
  for (std::int64_t rows = 1; rows <= steps::FewRowsCost::kMostRows; ++rows) {
    stairs.push_back(stairs.back() + *rc::gen::inRange(1, 100) * 1e-4 + (rows == 1 ? 0.02 : 0.0));
  }
  const Measured measured(
      [&](std::int64_t rows) { return stairs[static_cast<std::size_t>(rows)]; });
  std::vector<DraftOffer> offers(*rc::gen::inRange<std::size_t>(1, 4));
  for (DraftOffer& offer : offers) {
    offer.position = *rc::gen::inRange<std::int64_t>(0, 500);
    double chance = 1.0;
    offer.chances.resize(*rc::gen::inRange<std::size_t>(0, 5));
    for (double& c : offer.chances) {
      c = chance *= *rc::gen::inRange(1, 100) / 100.0;
    }
  }
  const auto sequences = std::ssize(offers);
  const steps::StepShape step = plain_step(sequences);
  const double plain = measured.times.seconds(step);
  const double limit = *rc::gen::inRange(0, 2) == 0 ? kNoLimit : 1.3 * plain;

  struct Outcome {
    std::int64_t drafted = 0;
    double tokens = 0.0;
    double seconds = 0.0;
  };

  const auto outcome_of = [&](const std::vector<std::int64_t>& counts) {
    steps::StepShape shape = step;
    Outcome outcome{.tokens = static_cast<double>(sequences)};
    for (std::size_t i = 0; i < counts.size(); ++i) {
      for (std::int64_t d = 0; d < counts[i]; ++d) {
        shape.add(1, offers[i].position + d, true);
        outcome.tokens += offers[i].chances[static_cast<std::size_t>(d)];
      }
    }
    outcome.drafted = shape.rows - step.rows;
    outcome.seconds = std::max(measured.times.seconds(shape),
                               plain * (1.0 + 0.1 * static_cast<double>(outcome.drafted)));
    return outcome;
  };

  std::vector<Outcome> all;
  std::vector<std::int64_t> counts(offers.size(), 0);
  const std::function<void(std::size_t)> try_all = [&](std::size_t i) {
    if (i == counts.size()) {
      all.push_back(outcome_of(counts));
      return;
    }
    for (counts[i] = 0; counts[i] <= std::ssize(offers[i].chances); ++counts[i]) {
      try_all(i + 1);
    }
    counts[i] = 0;
  };
  try_all(0);
  // Rows at other positions cost a little more or less, which the plan does not weigh: by at most this factor it may miss
  // the best, and think too long what would be within the limit.
  std::map<std::int64_t, std::pair<double, double>> seconds_of;  // least and most, by drafted rows
  for (const Outcome& its : all) {
    auto& [least, most] =
        seconds_of.try_emplace(its.drafted, its.seconds, its.seconds).first->second;
    least = std::min(least, its.seconds);
    most = std::max(most, its.seconds);
  }
  double spread = 1.0;
  for (const auto& [drafted, seconds] : seconds_of) {
    spread = std::max(spread, seconds.second / seconds.first);
  }
  double best = 0.0;
  for (const Outcome& its : all) {
    if (its.drafted == 0 || its.seconds * spread <= limit) {
      best = std::max(best, its.tokens / its.seconds);
    }
  }
  const Outcome planned =
      outcome_of(plan_drafts(offers, step, sequences, {.seconds = limit}, measured.times).counts);
  RC_ASSERT(planned.drafted == 0 || planned.seconds <= limit);
  RC_ASSERT(planned.tokens / planned.seconds >= best / spread * (1.0 - 1e-9));
}

}  // namespace
}  // namespace edgewise::speculation
