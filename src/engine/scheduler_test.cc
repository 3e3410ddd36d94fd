#include "engine/scheduler.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <numeric>

namespace edgewise::engine {
namespace {

TEST(Scheduler, GivesEveryGeneratingSequenceItsTokenBeforeAnyPrompt) {
  const std::vector<Progress> sequences = {{0, 100}, {9, 10}, {0, 100}, {4, 5}};
  EXPECT_EQ(plan_step(sequences, 12), (std::vector<std::int64_t>{10, 1, 0, 1}));
}

TEST(Scheduler, FillsTheBudgetWithPromptsInOrderOfArrival) {
  const std::vector<Progress> sequences = {{0, 30}, {10, 50}, {0, 100}};
  EXPECT_EQ(plan_step(sequences, 100), (std::vector<std::int64_t>{30, 40, 30}));
}

TEST(Scheduler, NeverSplitsAnIndivisibleSequence) {
  const std::vector<Progress> sequences = {{0, 30}, {0, 50, true}, {0, 5}};
  EXPECT_EQ(plan_step(sequences, 60), (std::vector<std::int64_t>{30, 0, 0}));
  EXPECT_EQ(plan_step(sequences, 82), (std::vector<std::int64_t>{30, 50, 2}));
}

TEST(Scheduler, LetsAnOversizedIndivisibleSequencePassWhenItIsFirst) {
  const std::vector<Progress> sequences = {{0, 50, true}, {0, 5}};
  EXPECT_EQ(plan_step(sequences, 10), (std::vector<std::int64_t>{50, 0}));
}

RC_GTEST_PROP(SchedulerProperty, StaysWithinItsRules, ()) {
  const auto sequences = *rc::gen::container<std::vector<Progress>>(rc::gen::map(
      rc::gen::tuple(rc::gen::inRange(0, 200), rc::gen::inRange(1, 200), rc::gen::inRange(0, 5)),
      [](const std::tuple<int, int, int>& t) {
        const auto [computed, missing, kind] = t;
        return Progress{computed, computed + missing, kind == 0};
      }));
  const auto budget = *rc::gen::inRange<std::int64_t>(1, 300);
  const std::vector<std::int64_t> shares = plan_step(sequences, budget);
  RC_ASSERT(shares.size() == sequences.size());
  std::int64_t total = 0;
  std::int64_t generating = 0;
  bool cut = false;  // a prompt got less than it wanted: nothing may come after it
  bool first_in_line = true;
  std::int64_t excess = 0;  // what the one allowed exception took
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const std::int64_t missing = sequences[i].target - sequences[i].computed;
    total += shares[i];
    if (missing == 1) {
      ++generating;
      RC_ASSERT(shares[i] == 1);
      continue;
    }
    RC_ASSERT(shares[i] >= 0 && shares[i] <= missing);
    RC_ASSERT(!sequences[i].indivisible || shares[i] == 0 || shares[i] == missing);
    RC_ASSERT(!cut || shares[i] == 0);
    if (first_in_line && sequences[i].indivisible) {
      excess = missing;
    }
    cut = cut || shares[i] < missing;
    first_in_line = false;
  }
  RC_ASSERT(total <= std::max(budget, generating) + excess);
  RC_ASSERT(sequences.empty() || total >= 1);
}

}  // namespace
}  // namespace edgewise::engine
