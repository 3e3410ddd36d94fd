#include "engine/memory_plan.h"

#include <gtest/gtest.h>

namespace edgewise::engine {
namespace {

constexpr std::int64_t kMiB = 1 << 20;

MemoryNeeds needs() {
  MemoryNeeds n;
  n.trained_context = 32768;
  n.block_bytes = kMiB;
  n.available_bytes = 4096 * kMiB;
  n.max_sequences = 32;
  return n;
}

TEST(MemoryPlan, TakesAQuarterOfMemoryAndCapsTheDefaultContext) {
  const auto plan = plan_memory(needs());
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->context, 8192);
  EXPECT_EQ(plan->blocks, 1024);
}

TEST(MemoryPlan, DefaultsToTheTrainedContextWhenThatIsShorter) {
  MemoryNeeds n = needs();
  n.trained_context = 512;
  const auto plan = plan_memory(n);
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->context, 512);
  EXPECT_EQ(plan->blocks, 2 * 32 * 8);  // more could never be in use
}

TEST(MemoryPlan, ShrinksTheDefaultContextToTheMemoryAtHand) {
  MemoryNeeds n = needs();
  n.available_bytes = 40 * kMiB;
  const auto plan = plan_memory(n);
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->context, 10 * 64);
  EXPECT_EQ(plan->blocks, 10);
}

TEST(MemoryPlan, AnAskedContextMayTakeMoreThanAQuarter) {
  MemoryNeeds n = needs();
  n.available_bytes = 1024 * kMiB;
  n.asked_context = 32768;
  const auto plan = plan_memory(n);
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->context, 32768);
  EXPECT_EQ(plan->blocks, 512);
}

TEST(MemoryPlan, RefusesWhatCanNotBe) {
  MemoryNeeds n = needs();
  n.asked_context = 40000;
  auto plan = plan_memory(n);
  ASSERT_FALSE(plan.has_value());
  EXPECT_NE(plan.error().message.find("32768"), std::string::npos) << plan.error().message;

  n = needs();
  n.asked_context = 8192;
  n.asked_budget_bytes = 100 * kMiB;
  plan = plan_memory(n);
  ASSERT_FALSE(plan.has_value());
  EXPECT_EQ(plan.error().code, ErrorCode::kResourceExhausted);
  EXPECT_NE(plan.error().message.find("6400"), std::string::npos) << plan.error().message;

  n = needs();
  n.available_bytes = 3 * kMiB;
  EXPECT_FALSE(plan_memory(n).has_value());
}

TEST(MemoryPlan, AlwaysHoldsOneWholeSequence) {
  for (const std::int64_t asked : {0, 1, 63, 64, 65, 5000}) {
    MemoryNeeds n = needs();
    n.asked_context = asked;
    const auto plan = plan_memory(n);
    ASSERT_TRUE(plan.has_value());
    EXPECT_GE(plan->blocks * 64, plan->context);
  }
}

TEST(MemoryPlan, SeveralModelsHoldEquallyManyPositions) {
  const std::int64_t gibibyte = std::int64_t{1} << 30;
  const std::vector<std::int64_t> needs = {22'528, 28'672, 0};
  const std::vector<std::int64_t> shares = divide_budget(gibibyte, needs);
  ASSERT_EQ(shares.size(), 3U);
  EXPECT_EQ(shares[0] / needs[0], shares[1] / needs[1]);
  EXPECT_EQ(shares[2], 0);
  EXPECT_LE(shares[0] + shares[1], gibibyte);
  EXPECT_GT(shares[0] + shares[1], gibibyte - 1000);
  EXPECT_EQ(divide_budget(gibibyte, std::vector<std::int64_t>{5})[0], gibibyte);
  EXPECT_EQ(divide_budget(gibibyte, std::vector<std::int64_t>{0, 0})[1], 0);
}

TEST(MemoryPlan, AModelAndItsDraftModelHoldEquallyManyPositions) {
  for (const bool asked : {false, true}) {
    MemoryNeeds n = needs();
    n.block_bytes = 4 * kMiB;
    n.asked_budget_bytes = asked ? 500 * kMiB : 0;
    MemoryNeeds draft = split_off_draft(n, 2048, kMiB);
    const auto plan = plan_memory(n);
    ASSERT_TRUE(plan.has_value());
    const auto blocks = plan_draft_blocks(draft, plan->context);
    ASSERT_TRUE(blocks.has_value());
    EXPECT_EQ(plan->blocks, asked ? 100 : 204);
    EXPECT_EQ(*blocks, plan->blocks);
  }
}

TEST(MemoryPlan, ADraftModelTakesNoMoreThanItsTextsNeed) {
  MemoryNeeds n = needs();
  n.max_sequences = 2;
  n.asked_budget_bytes = 4096 * kMiB;
  MemoryNeeds draft = split_off_draft(n, 128, kMiB);
  EXPECT_EQ(*plan_draft_blocks(draft, 8192), 2 * 2 * 2);
  n = needs();
  n.asked_budget_bytes = kMiB;
  draft = split_off_draft(n, 128, kMiB);
  EXPECT_FALSE(plan_draft_blocks(draft, 8192).has_value());
}

}  // namespace
}  // namespace edgewise::engine
