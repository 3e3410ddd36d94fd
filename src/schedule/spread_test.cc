#include "schedule/spread.h"

#include <gtest/gtest.h>

#include <set>

#include "schedule/assign.h"
#include "schedule/test_support.h"

namespace edgewise::schedule {
namespace {

using Chosen = std::vector<std::vector<std::int32_t>>;

// Steps of 10 ms, twice as long with two rows.
NodeProblem node(std::int32_t requests, double factor = 1.0) {
  NodeProblem problem;
  for (std::int32_t request = 0; request < requests; ++request) {
    problem.candidates.push_back(
        {.request = request, .prompt_tokens = 10, .output_tokens = 100, .memory_bytes = 1.0});
  }
  problem.cost = std::make_unique<StepCostModel>(
      std::vector<StepCost>{{.row_s = 0.01 * factor, .prompt_token_s = 0.001 * factor}},
      std::vector<RunningSequence>{});
  return problem;
}

std::vector<NodeProblem> two_nodes(std::int32_t requests, double second_factor = 1.0) {
  std::vector<NodeProblem> nodes;
  nodes.push_back(node(requests));
  nodes.push_back(node(requests, second_factor));
  return nodes;
}

// The times of ending of everybody, in sum.
double ending(const std::vector<NodeProblem>& nodes, const Chosen& chosen) {
  double sum = 0.0;
  for (std::size_t e = 0; e < nodes.size(); ++e) {
    std::vector<Candidate> set;
    for (const std::int32_t c : chosen[e]) {
      set.push_back(nodes[e].candidates[static_cast<std::size_t>(c)]);
    }
    FinishTimes times;
    nodes[e].cost->finish_times(set, times);
    for (const auto& finishes : {times.set, times.running}) {
      for (const Finish& finish : finishes) {
        sum += finish.last_token_s;
      }
    }
  }
  return sum;
}

TEST(Spread, NodesThatAreAlikeGetHalfEach) {
  const Chosen spread_out = spread(two_nodes(4), {{0, 1, 2, 3}, {}});
  EXPECT_EQ(spread_out[0].size(), 2U);
  EXPECT_EQ(spread_out[1].size(), 2U);
}

TEST(Spread, TheFasterGetsMore) {
  const Chosen spread_out = spread(two_nodes(5, 0.25), {{0, 1, 2, 3, 4}, {}});
  EXPECT_GT(spread_out[1].size(), spread_out[0].size());
  EXPECT_EQ(spread(two_nodes(1, 0.25), {{0}, {}}), (Chosen{{}, {0}}));
}

TEST(Spread, LimitsOfTheOtherNodeAreKept) {
  std::vector<NodeProblem> nodes = two_nodes(4);
  nodes[1].capacity.memory_bytes = 1.0;
  EXPECT_EQ(spread(nodes, {{0, 1, 2, 3}, {}})[1].size(), 1U);
  nodes[1].capacity.count = 0;
  EXPECT_EQ(spread(nodes, {{0, 1, 2, 3}, {}}), (Chosen{{0, 1, 2, 3}, {}}));
}

TEST(Spread, NobodyGoesWhereHeIsWorthLess) {
  std::vector<NodeProblem> nodes = two_nodes(2);
  for (Candidate& candidate : nodes[1].candidates) {
    candidate.value = 0.9;
  }
  EXPECT_EQ(spread(nodes, {{0, 1}, {}}), (Chosen{{0, 1}, {}}));
}

TEST(Spread, ServesTheSameRequestsWithinTheLimitsAndSooner) {
  InstanceMaker maker(40);
  double sooner = 0.0;
  for (int round = 0; round < 500; ++round) {
    SCOPED_TRACE(round);
    std::vector<NodeProblem> nodes;
    for (std::int64_t e = maker.integer(2, 3); e > 0; --e) {
      Instance instance = maker.step_instance(maker.integer(1, 5));
      for (Candidate& candidate : instance.candidates) {
        candidate.value = 1.0;
      }
      nodes.push_back({.candidates = std::move(instance.candidates),
                       .cost = std::move(instance.cost),
                       .capacity = std::move(instance.capacity)});
    }
    const Assignment found = assign(nodes);
    const Chosen after = spread(nodes, found.chosen);
    std::multiset<std::int32_t> before_requests;
    std::multiset<std::int32_t> after_requests;
    double value = 0.0;
    for (std::size_t e = 0; e < nodes.size(); ++e) {
      const auto candidate = [&](std::int32_t c) {
        return nodes[e].candidates[static_cast<std::size_t>(c)];
      };
      std::vector<Candidate> set;
      for (const std::int32_t c : found.chosen[e]) {
        before_requests.insert(candidate(c).request);
      }
      for (const std::int32_t c : after[e]) {
        set.push_back(candidate(c));
        after_requests.insert(set.back().request);
        value += set.back().value;
      }
      FinishTimes times;
      ASSERT_TRUE(is_feasible(set, *nodes[e].cost, nodes[e].capacity, times));
    }
    ASSERT_EQ(before_requests, after_requests);
    ASSERT_GE(value, found.value - 1e-9);
    const double before_s = ending(nodes, found.chosen);
    const double after_s = ending(nodes, after);
    ASSERT_LE(after_s, before_s + 1e-9);
    sooner += before_s > after_s + 1e-6 ? 1.0 : 0.0;
  }
  EXPECT_GT(sooner, 50.0);  // else the cases show nothing
}

}  // namespace
}  // namespace edgewise::schedule
