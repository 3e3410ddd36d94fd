#include "schedule/assign.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "schedule/test_support.h"

namespace edgewise::schedule {
namespace {

// Several nodes of both kinds over the same few requests, each tight on its own.
std::vector<NodeProblem> small_nodes(InstanceMaker& maker, bool alike) {
  std::vector<NodeProblem> nodes;
  const std::int64_t count = maker.integer(2, 4);
  for (std::int64_t e = 0; e < count; ++e) {
    const std::int64_t candidates = maker.integer(1, count == 4 ? 4 : 5);
    Instance instance =
        maker.coin() ? maker.flop_instance(candidates) : maker.step_instance(candidates);
    const auto shift = static_cast<std::int32_t>(maker.integer(0, 2));
    for (Candidate& candidate : instance.candidates) {
      candidate.request += shift;
      candidate.value = alike ? 1.0 : candidate.value;
    }
    nodes.push_back({.candidates = std::move(instance.candidates),
                     .cost = std::move(instance.cost),
                     .capacity = std::move(instance.capacity)});
  }
  return nodes;
}

void expect_feasible(const std::vector<NodeProblem>& nodes, const Assignment& assignment) {
  std::set<std::int32_t> served;
  double value = 0.0;
  ASSERT_EQ(assignment.chosen.size(), nodes.size());
  for (std::size_t e = 0; e < nodes.size(); ++e) {
    std::vector<Candidate> set;
    for (const std::int32_t c : assignment.chosen[e]) {
      set.push_back(nodes[e].candidates[static_cast<std::size_t>(c)]);
      ASSERT_TRUE(served.insert(set.back().request).second) << "served twice";
      value += set.back().value;
    }
    FinishTimes times;
    ASSERT_TRUE(is_feasible(set, *nodes[e].cost, nodes[e].capacity, times));
  }
  ASSERT_NEAR(value, assignment.value, 1e-9 * (1.0 + value));
}

TEST(Assign, IsWorthAtLeastHalfOfTheOptimumInAnyOrder) {
  InstanceMaker maker(20);
  double worst = 1.0;
  for (int round = 0; round < 4000; ++round) {
    SCOPED_TRACE(round);
    const std::vector<NodeProblem> nodes = small_nodes(maker, round % 4 == 0);
    const double optimum = assign_exhaustively(nodes).value;
    const Assignment found =
        assign(nodes, {.all_orders = false, .local_search = false, .bound_rounds = 0});
    expect_feasible(nodes, found);
    ASSERT_TRUE(found.has_guarantee);
    ASSERT_GE(found.value, 0.5 * optimum * (1.0 - 1e-9));
    ASSERT_LE(found.value, optimum * (1.0 + 1e-9));
    if (HasFatalFailure()) {
      return;
    }
    worst = optimum > 0.0 ? std::min(worst, found.value / optimum) : worst;
  }
  EXPECT_LT(worst, 0.75);  // else the cases are too easy to show anything
}

TEST(Assign, StaysBetweenHalfTheOptimumAndItsBound) {
  InstanceMaker maker(21);
  double total = 0.0;
  double total_bound = 0.0;
  double total_optimum = 0.0;
  for (int round = 0; round < 1500; ++round) {
    SCOPED_TRACE(round);
    const std::vector<NodeProblem> nodes = small_nodes(maker, round % 4 == 0);
    const double optimum = assign_exhaustively(nodes).value;
    const Assignment found = assign(nodes);
    expect_feasible(nodes, found);
    ASSERT_GE(found.greedy_value, 0.5 * optimum * (1.0 - 1e-9));
    ASSERT_GE(found.value, found.greedy_value * (1.0 - 1e-12));
    ASSERT_LE(found.value, optimum * (1.0 + 1e-9));
    ASSERT_GE(found.upper_bound, optimum * (1.0 - 1e-9));
    if (HasFatalFailure()) {
      return;
    }
    total += found.value;
    total_bound += found.upper_bound;
    total_optimum += optimum;
  }
  EXPECT_GT(total, 0.99 * total_optimum);
  EXPECT_LT(total_bound, 1.02 * total_optimum);
}

TEST(Assign, KeepsItsBoundAndItsLimitsWhenSearchesAreCutShort) {
  InstanceMaker maker(22);
  int unsure[2] = {};
  for (int round = 0; round < 500; ++round) {
    SCOPED_TRACE(round);
    const std::vector<NodeProblem> nodes = small_nodes(maker, round % 4 == 0);
    const double optimum = assign_exhaustively(nodes).value;
    const Assignment found =
        assign(nodes, {.search = {.max_nodes = maker.integer(0, 3)}, .all_orders = round % 2 == 0});
    expect_feasible(nodes, found);
    ASSERT_LE(found.value, optimum * (1.0 + 1e-9));
    ASSERT_GE(found.upper_bound, optimum * (1.0 - 1e-9));
    if (found.has_guarantee) {
      ASSERT_GE(found.value, 0.5 * optimum * (1.0 - 1e-9));
    }
    unsure[round % 2] += found.has_guarantee ? 0 : 1;
  }
  EXPECT_GT(unsure[0], 10);
  EXPECT_GT(unsure[1], 10);
}

// Two nodes with room for one request each; the first node's favourite is the only one that the second can serve.
std::vector<NodeProblem> contested() {
  const auto one = [](std::vector<Candidate> candidates) {
    return NodeProblem{
        .candidates = std::move(candidates),
        .cost = std::make_unique<FlopCost>(FlopCostOptions{.shape = {1, 1, 1}, .flops_per_s = 1e9}),
        .capacity = {.count = 1}};
  };
  std::vector<NodeProblem> nodes;
  nodes.push_back(one({{.request = 0, .value = 1.0}, {.request = 1, .value = 1.0}}));
  nodes.push_back(one({{.request = 0, .value = 1.0}}));
  return nodes;
}

TEST(Assign, OrdersAndLocalSearchFindWhatOneOrderMisses) {
  const std::vector<NodeProblem> nodes = contested();
  const Assignment plain = assign(nodes, {.all_orders = false, .local_search = false});
  EXPECT_EQ(plain.value, 1.0);
  EXPECT_EQ(plain.upper_bound, 2.0);
  EXPECT_EQ(assign(nodes, {.all_orders = false}).value, 2.0);
  EXPECT_EQ(assign(nodes, {.local_search = false}).value, 2.0);
}

TEST(Assign, ALaterNodeTakesARequestOverWhereItIsWorthMore) {
  std::vector<NodeProblem> nodes = contested();
  nodes[1].candidates[0].value = 3.0;
  const Assignment found = assign(nodes, {.all_orders = false, .local_search = false});
  EXPECT_EQ(found.chosen, (std::vector<std::vector<std::int32_t>>{{}, {0}}));
  EXPECT_EQ(found.value, 3.0);
  EXPECT_EQ(assign(nodes, {.all_orders = false}).value, 4.0);
}

TEST(Assign, OfNothingIsNothing) {
  EXPECT_EQ(assign({}).value, 0.0);
  const std::vector<NodeProblem> nodes = contested();
  std::vector<NodeProblem> empty;
  empty.push_back(
      {.candidates = {}, .cost = std::make_unique<FlopCost>(FlopCostOptions{}), .capacity = {}});
  const Assignment found = assign(empty);
  EXPECT_EQ(found.upper_bound, 0.0);
  EXPECT_TRUE(found.has_guarantee);
}

TEST(Assign, IsTheSameEveryTimeOverManyNodes) {
  InstanceMaker maker(23);
  std::vector<NodeProblem> nodes;
  for (int e = 0; e < 6; ++e) {
    Instance instance = e % 2 == 0 ? maker.flop_instance(30) : maker.step_instance(30);
    nodes.push_back({std::move(instance.candidates), std::move(instance.cost), instance.capacity});
  }
  const AssignOptions options{.search = {.max_nodes = 2000}, .bound_rounds = 5};
  const Assignment first = assign(nodes, options);
  const Assignment again = assign(nodes, options);
  expect_feasible(nodes, first);
  EXPECT_EQ(first.chosen, again.chosen);
  EXPECT_EQ(first.upper_bound, again.upper_bound);
  EXPECT_LE(first.value, first.upper_bound);
}

}  // namespace
}  // namespace edgewise::schedule
