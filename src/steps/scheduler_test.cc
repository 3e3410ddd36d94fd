#include "steps/scheduler.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <numeric>

namespace edgewise::steps {
namespace {

using Shares = std::vector<std::int64_t>;

// Believes that a step costs 10 ms and 1 ms for each further row (attention: next to nothing).
const StepCost kCost(0.010, 0.001);

StepLimits at_most(std::int64_t tokens) {
  StepLimits limits;
  limits.tokens = tokens;
  limits.alone_seconds = limits.shared_seconds = 1e9;
  return limits;
}

Shares plan(std::span<const Progress> sequences, const StepLimits& limits) {
  Shares shares;
  plan_step(sequences, limits, kCost, shares);
  return shares;
}

TEST(Scheduler, GivesEveryGeneratingSequenceItsTokenBeforeAnyPrompt) {
  const std::vector<Progress> sequences = {{0, 100}, {9, 10}, {0, 100}, {4, 5}};
  EXPECT_EQ(plan(sequences, at_most(12)), (Shares{10, 1, 0, 1}));
}

TEST(Scheduler, FillsTheStepWithPromptsInTheirOrder) {
  const std::vector<Progress> sequences = {{0, 30}, {10, 50}, {0, 100}};
  EXPECT_EQ(plan(sequences, at_most(100)), (Shares{30, 40, 30}));
}

TEST(Scheduler, NeverSplitsAnIndivisibleSequence) {
  const std::vector<Progress> sequences = {{0, 30}, {0, 50, true}, {0, 5}};
  EXPECT_EQ(plan(sequences, at_most(60)), (Shares{30, 0, 0}));
  EXPECT_EQ(plan(sequences, at_most(82)), (Shares{30, 50, 2}));
}

TEST(Scheduler, LetsAnOversizedIndivisibleSequencePassWhenItIsFirst) {
  const std::vector<Progress> sequences = {{0, 50, true}, {0, 5}};
  EXPECT_EQ(plan(sequences, at_most(10)), (Shares{50, 0}));
}

TEST(Scheduler, SizesStepsInSeconds) {
  StepLimits limits;
  limits.alone_seconds = 0.100;
  const std::vector<Progress> prompts = {{0, 40}, {0, 400}};
  const Shares alone = plan(prompts, limits);
  EXPECT_EQ(alone[0], 40);
  EXPECT_NEAR(static_cast<double>(alone[1]), 50, 3);  // 91 rows fill 100 ms

  // One that generates takes 10 ms; 1.6 times that leaves 6 ms to prompts.
  const std::vector<Progress> shared = {{0, 400}, {9, 10}};
  EXPECT_NEAR(static_cast<double>(plan(shared, limits)[0]), 6, 1);
  limits.shared_seconds = 0.050;
  EXPECT_NEAR(static_cast<double>(plan(shared, limits)[0]), 40, 1);
}

TEST(Scheduler, APromptMovesHoweverShortTheStepShouldBe) {
  StepLimits limits;
  limits.shared_seconds = 0.001;
  const std::vector<Progress> sequences = {{9, 10}, {0, 400}, {0, 400}};
  EXPECT_EQ(plan(sequences, limits), (Shares{1, 1, 0}));
}

RC_GTEST_PROP(SchedulerProperty, StaysWithinItsRules, ()) {
  const auto sequences = *rc::gen::container<std::vector<Progress>>(rc::gen::map(
      rc::gen::tuple(rc::gen::inRange(0, 200), rc::gen::inRange(1, 200), rc::gen::inRange(0, 5)),
      [](const std::tuple<int, int, int>& t) {
        const auto [computed, missing, kind] = t;
        return Progress{computed, computed + missing, kind == 0};
      }));
  StepLimits limits;
  limits.tokens = *rc::gen::inRange<std::int64_t>(1, 300);
  limits.alone_seconds = *rc::gen::inRange(1, 300) * 1e-3;
  limits.shared_seconds = *rc::gen::inRange(0, 300) * 1e-3;
  const Shares shares = plan(sequences, limits);
  RC_ASSERT(shares.size() == sequences.size());
  StepShape step;
  StepShape generating;
  bool cut = false;  // a prompt got less than it wanted: nothing may come after it
  bool first_in_line = true;
  std::int64_t allowance = 0;  // what the first in line may take in any case
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const Progress& sequence = sequences[i];
    if (sequence.is_generating()) {
      RC_ASSERT(shares[i] == 1);
      generating.add(1, sequence.computed, true);
    } else {
      RC_ASSERT(shares[i] >= 0 && shares[i] <= sequence.missing());
      RC_ASSERT(!sequence.indivisible || shares[i] == 0 || shares[i] == sequence.missing());
      RC_ASSERT(!cut || shares[i] == 0);
      RC_ASSERT(!first_in_line || shares[i] >= 1);
      if (first_in_line) {
        allowance = sequence.indivisible ? sequence.missing() : 1;
      }
      cut = cut || shares[i] < sequence.missing();
      first_in_line = false;
    }
    step.add(shares[i], sequence.computed, shares[i] == sequence.missing());
  }
  RC_ASSERT(step.rows <= std::max(limits.tokens, generating.rows + allowance));
  const double excused =
      std::accumulate(sequences.begin(), sequences.end(), 0.0, [&](double sum, const Progress& s) {
        return std::max(sum, static_cast<double>(s.computed + s.missing()));
      });
  StepShape least = generating;
  least.add(allowance, static_cast<std::int64_t>(excused), true);
  RC_ASSERT(kCost.seconds(step) <=
            std::max(limits.seconds(generating, kCost), kCost.seconds(least)) + 1e-9);
  RC_ASSERT(sequences.empty() || step.rows >= 1);
}

}  // namespace
}  // namespace edgewise::steps
