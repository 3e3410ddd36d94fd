#include "simulate/served_node.h"

#include <gtest/gtest.h>

namespace edgewise::simulate {
namespace {

Node server() {
  Node node;
  node.profile = {.name = "server", .memory_bytes = 1e9, .max_requests = 8, .variants = {{}}};
  node.profile.variants[0].step = {.launch_s = 0.020,
                                   .row_s = 0.001,
                                   .position_s = 1e-7,
                                   .prompt_token_s = 0.001,
                                   .prompt_pair_s = 1e-7,
                                   .least_stall = 1.6,
                                   .most_stall = 6.0};
  return node;
}

Arrival arrival(double time_s, const schedule::Request& request) {
  return {.time_s = time_s, .request = request, .gains = {1.0}};
}

Outcome run(const Node& node,
            const std::vector<Arrival>& arrivals,
            const PolicyOptions& options = {}) {
  EXPECT_TRUE(is_one_server({&node, 1}));
  return simulate({&node, 1}, arrivals, options).value();
}

TEST(ServedNode, TakesTheTimeThatTheProfileSays) {
  const std::vector<Arrival> one = {arrival(2.0, {.prompt_tokens = 300, .output_tokens = 3})};
  const double prompt = 0.320 + 1e-7 * 300 * 301 / 2;
  const double answer = 2 * 0.021 + 1e-7 * (301 + 302);
  for (const Policy policy : {Policy::kOtGah, Policy::kContinuous}) {
    const Outcome outcome = run(server(), one, {.policy = policy});
    EXPECT_EQ(outcome.in_time, 1);
    EXPECT_NEAR(outcome.end_s, 2.0 + prompt + answer, 1e-6);
  }
}

// A prompt a step would take 0.24 s.
TEST(ServedNode, PacksPromptsIntoOneStep) {
  const std::vector<Arrival> three(
      3, arrival(0.0, {.prompt_tokens = 60, .output_tokens = 1, .deadline_s = 0.23}));
  EXPECT_EQ(run(server(), three).in_time, 3);
  const Outcome outcome = run(server(), three, {.policy = Policy::kContinuous});
  EXPECT_EQ(outcome.in_time, 3);
  EXPECT_NEAR(outcome.end_s, 0.200 + 3e-7 * 60 * 61 / 2, 1e-6);
}

// 400 tokens take 0.43 s: the second one's answer could not begin before 0.86 s.
TEST(ServedNode, RefusesAndEndsWhatTheEngineRefusesAndEnds) {
  const std::vector<Arrival> two = {
      arrival(0.0, {.prompt_tokens = 400, .output_tokens = 2, .deadline_s = 0.7}),
      arrival(0.1, {.prompt_tokens = 400, .output_tokens = 2, .deadline_s = 0.7})};
  const Outcome ours = run(server(), two);
  EXPECT_EQ(ours.in_time, 1);
  EXPECT_EQ(ours.late, 0);
  const Outcome theirs = run(server(), two, {.policy = Policy::kContinuous});
  EXPECT_EQ(theirs.in_time, 1);
  EXPECT_EQ(theirs.late, 1);
}

TEST(ServedNode, CachedBeginningsAreNotReadAgain) {
  const std::vector<Arrival> one = {
      arrival(0.0, {.prompt_tokens = 1000, .cached_tokens = 900, .output_tokens = 1})};
  const double pairs = 100.0 * 900 + 100.0 * 101 / 2;
  EXPECT_NEAR(run(server(), one).end_s, 0.120 + 1e-7 * pairs, 1e-6);
}

TEST(ServedNode, ServesNobodyWhoDoesNotFit) {
  Node node = server();
  node.profile.variants[0].kv_bytes_per_token = 1e6;  // 15 blocks of 64
  node.profile.variants[0].accuracy = 0.9;
  const std::vector<Arrival> some = {
      arrival(0.0, {.prompt_tokens = 980, .output_tokens = 10}),
      arrival(0.0, {.prompt_tokens = 900, .output_tokens = 60}),
      arrival(0.0, {.prompt_tokens = 10, .output_tokens = 1, .min_accuracy = 0.95})};
  EXPECT_EQ(run(node, some).in_time, 1);
  EXPECT_EQ(run(node, {some[0]}).in_time, 0);
  const std::vector<Arrival> huge = {arrival(0.0, {.prompt_tokens = std::int64_t{1} << 40})};
  EXPECT_FALSE(simulate({&node, 1}, huge, {}));
}

TEST(ServedNode, WhatIsWorthMoreIsChosen) {
  const schedule::Request request = {.prompt_tokens = 400, .output_tokens = 2, .deadline_s = 0.65};
  std::vector<Arrival> two = {arrival(0.0, request), arrival(0.0, request)};
  two[1].request.value = 3.0;
  const Outcome outcome = run(server(), two);
  EXPECT_EQ(outcome.in_time, 1);
  EXPECT_EQ(outcome.value, 3.0);
}

TEST(ServedNode, RunsEveryPolicyTheSameWayTwice) {
  const Scenario gateway = builtin_scenario("gateway").value();
  Workload workload = gateway.workload;
  workload.rate_per_s = 1.0;
  workload.duration_s = 60.0;
  const std::vector<Arrival> arrivals = draw_arrivals(workload, gateway.nodes, 1);
  for (const Policy policy : all_policies()) {
    const Outcome once = run(gateway.nodes[0], arrivals, {.policy = policy});
    const Outcome again = run(gateway.nodes[0], arrivals, {.policy = policy});
    EXPECT_EQ(once.in_time, again.in_time) << policy_name(policy);
    EXPECT_EQ(once.end_s, again.end_s);
    EXPECT_GT(once.in_time, 0);
    EXPECT_LE(once.in_time + once.late, once.offered);
  }
}

TEST(ServedNode, BruteForceSaysWhenThereAreTooMany) {
  const Node node = server();
  const std::vector<Arrival> many(
      40, arrival(0.0, {.prompt_tokens = 10, .output_tokens = 50, .deadline_s = 60.0}));
  EXPECT_FALSE(simulate({&node, 1}, many, {.policy = Policy::kBruteForce}));
}

}  // namespace
}  // namespace edgewise::simulate
