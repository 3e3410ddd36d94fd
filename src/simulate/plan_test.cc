#include "simulate/plan.h"

#include <gtest/gtest.h>

namespace edgewise::simulate {
namespace {

Plan plan_of(std::string_view requests) {
  const std::vector<Node> nodes =
      builtin_scenario("paper")->nodes_with("bloom-3b", kAnyQuantizer).value();
  return make_plan(nodes, parse_requests(requests, nodes, Arrivals::kTogether).value(), {});
}

TEST(Plan, ChoosesTheVariantByTheAccuracyDemand) {
  const Plan plan = plan_of(R"([
    {"prompt_tokens": 128, "output_tokens": 128, "deadline_s": 1.9, "min_accuracy": 0.4},
    {"prompt_tokens": 128, "output_tokens": 128, "deadline_s": 1.9, "min_accuracy": 0.99},
    {"prompt_tokens": 128, "output_tokens": 128, "deadline_s": 1.9, "min_accuracy": 1.1}])");
  EXPECT_EQ(plan.assignment.value, 2.0);
  EXPECT_EQ(plan.services[1].variant, "w16a16");
  EXPECT_GE(plan.services[0].node, 0);
  EXPECT_EQ(plan.services[2].reason, "no variant meets its accuracy demand");
}

TEST(Plan, SaysWhySomeoneIsNotServed) {
  const Plan plan = plan_of(R"([
    {"prompt_tokens": 128, "output_tokens": 512, "deadline_s": 0.4},
    {"prompt_tokens": 128, "output_tokens": 512, "deadline_s": 0.51},
    {"prompt_tokens": 128, "output_tokens": 128, "deadline_s": 2.0}])");
  EXPECT_EQ(plan.services[0].reason, "even alone it would not fit or be in time on any node");
  EXPECT_EQ(plan.services[1].node, -1);
  EXPECT_GE(plan.services[2].node, 0);
  EXPECT_LE(plan.services[2].last_token_s, 2.0);
}

TEST(Plan, CountsWhatTheNodesGive) {
  const Plan plan = plan_of(R"([
    {"prompt_tokens": 512, "output_tokens": 128, "deadline_s": 1.9, "gains": {"server": 1e-3}}])");
  ASSERT_EQ(plan.uses.size(), 3);
  const auto node = static_cast<std::size_t>(plan.services[0].node);
  EXPECT_EQ(plan.uses[node].requests, 1);
  EXPECT_GT(plan.uses[node].memory_bytes, 1e9);  // with the weights of the variant that is used
  EXPECT_EQ(plan.uses[node].uplink, plan.services[0].uplink);
  EXPECT_GT(plan.services[0].uplink, 0.0);
}

}  // namespace
}  // namespace edgewise::simulate
