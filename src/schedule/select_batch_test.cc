#include "schedule/select_batch.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "schedule/exhaustive.h"
#include "schedule/greedy.h"
#include "schedule/test_support.h"

namespace edgewise::schedule {
namespace {

std::vector<Candidate> pick(const Instance& instance, const std::vector<std::int32_t>& chosen) {
  std::vector<Candidate> set;
  for (const std::int32_t i : chosen) {
    set.push_back(instance.candidates[static_cast<std::size_t>(i)]);
  }
  return set;
}

void expect_exact(const Instance& instance) {
  const Selection truth =
      select_exhaustively(instance.candidates, *instance.cost, instance.capacity);
  const Selection found = select_batch(instance.candidates, *instance.cost, instance.capacity);
  FinishTimes times;
  ASSERT_TRUE(found.is_optimal);
  ASSERT_NEAR(found.value, truth.value, 1e-7 * (1.0 + truth.value));
  ASSERT_EQ(found.upper_bound, found.value);
  ASSERT_TRUE(is_feasible(pick(instance, found.chosen), *instance.cost, instance.capacity, times));
  ASSERT_TRUE(std::is_sorted(found.chosen.begin(), found.chosen.end()));
}

void expect_valid_when_cut_short(const Instance& instance, std::int64_t max_nodes) {
  const Selection truth =
      select_exhaustively(instance.candidates, *instance.cost, instance.capacity);
  const Selection found = select_batch(instance.candidates, *instance.cost, instance.capacity,
                                       {.max_nodes = max_nodes});
  FinishTimes times;
  ASSERT_LE(found.nodes, max_nodes);
  ASSERT_LE(found.value, truth.value * (1.0 + 1e-9));
  ASSERT_GE(found.upper_bound, truth.value * (1.0 - 1e-9));
  ASSERT_TRUE(is_feasible(pick(instance, found.chosen), *instance.cost, instance.capacity, times));
  if (found.is_optimal) {
    ASSERT_NEAR(found.value, truth.value, 1e-7 * (1.0 + truth.value));
  }
}

TEST(SelectBatch, EqualsExhaustiveSearchInThePapersModel) {
  InstanceMaker maker(1);
  for (int i = 0; i < 4000; ++i) {
    SCOPED_TRACE(i);
    expect_exact(maker.flop_instance(maker.integer(1, 12)));
    if (HasFatalFailure()) {
      return;
    }
  }
}

TEST(SelectBatch, EqualsExhaustiveSearchInTheMeasuredModel) {
  InstanceMaker maker(2);
  for (int i = 0; i < 4000; ++i) {
    SCOPED_TRACE(i);
    expect_exact(maker.step_instance(maker.integer(1, 11)));
    if (HasFatalFailure()) {
      return;
    }
  }
}

TEST(SelectBatch, GivesAnIncumbentAndAValidBoundWhenCutShort) {
  InstanceMaker maker(3);
  int cut = 0;
  for (int i = 0; i < 1000; ++i) {
    SCOPED_TRACE(i);
    const Instance instance = i % 2 == 0 ? maker.flop_instance(maker.integer(1, 12))
                                         : maker.step_instance(maker.integer(1, 11));
    const std::int64_t max_nodes = maker.integer(0, 20);
    expect_valid_when_cut_short(instance, max_nodes);
    if (HasFatalFailure()) {
      return;
    }
    cut += select_batch(instance.candidates, *instance.cost, instance.capacity,
                        {.max_nodes = max_nodes})
                   .is_optimal
               ? 0
               : 1;
  }
  EXPECT_GT(cut, 100);  // else this tested nothing
}

TEST(SelectBatch, StopsWhenTimeIsOut) {
  InstanceMaker maker(4);
  const Instance instance = maker.flop_instance(60);
  const Selection found = select_batch(instance.candidates, *instance.cost, instance.capacity,
                                       {.out_of_time = [] { return true; }});
  EXPECT_FALSE(found.is_optimal);
  EXPECT_EQ(found.nodes, 0);
  EXPECT_GT(found.value, 0.0);
  EXPECT_GE(found.upper_bound, found.value);
}

TEST(SelectBatch, IsTheSameEveryTime) {
  InstanceMaker maker(5);
  for (int i = 0; i < 20; ++i) {
    const Instance instance = maker.flop_instance(80);
    const SearchLimits limits{.max_nodes = 5000};
    const Selection first =
        select_batch(instance.candidates, *instance.cost, instance.capacity, limits);
    const Selection again =
        select_batch(instance.candidates, *instance.cost, instance.capacity, limits);
    EXPECT_EQ(first.chosen, again.chosen);
    EXPECT_EQ(first.nodes, again.nodes);
    EXPECT_EQ(first.upper_bound, again.upper_bound);
  }
}

TEST(SelectBatch, IsNeverBelowAGreedyChoice) {
  InstanceMaker maker(6);
  for (int i = 0; i < 200; ++i) {
    const Instance instance = i % 2 == 0 ? maker.flop_instance(40) : maker.step_instance(40);
    const Selection found = select_batch(instance.candidates, *instance.cost, instance.capacity);
    for (const GreedyOrder order :
         {GreedyOrder::kArrival, GreedyOrder::kSlack, GreedyOrder::kShortestOutput}) {
      const auto greedy =
          select_greedily(instance.candidates, *instance.cost, instance.capacity, order);
      EXPECT_GE(found.upper_bound * (1.0 + 1e-9), total_value(instance.candidates, greedy));
      FinishTimes times;
      EXPECT_TRUE(is_feasible(pick(instance, greedy), *instance.cost, instance.capacity, times));
    }
  }
}

TEST(SelectBatch, OfNothingIsNothing) {
  InstanceMaker maker(7);
  const Instance instance = maker.flop_instance(1);
  const Selection found = select_batch({}, *instance.cost, instance.capacity);
  EXPECT_TRUE(found.is_optimal);
  EXPECT_TRUE(found.chosen.empty());
  EXPECT_EQ(found.upper_bound, 0.0);
}

}  // namespace
}  // namespace edgewise::schedule
