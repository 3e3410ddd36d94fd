#include "reuse/reuse_plan.h"

#include <gtest/gtest.h>

#include <numeric>

namespace edgewise::reuse {
namespace {

using Tokens = std::vector<TokenId>;

// 100 tokens that only it has, then those from 1000 on.
Tokens text_of(TokenId own, std::size_t same) {
  Tokens tokens(100 + same);
  std::iota(tokens.begin(), tokens.begin() + 100, own);
  std::iota(tokens.begin() + 100, tokens.end(), 1000);
  return tokens;
}

std::vector<CommonRun> plan(const Tokens& prompt, const Tokens& known, const Recomputation& again) {
  const std::vector<std::span<const TokenId>> sources{known};
  return plan_reuse(prompt, 0, sources, again);
}

TEST(ReusePlan, LeavesOutWhatIsComputedAgain) {
  const Tokens known = text_of(10000, 500);
  const Tokens prompt = text_of(20000, 500);
  EXPECT_EQ(plan(prompt, known, {.first = 32, .last = 10}),
            (std::vector<CommonRun>{{.begin = 132, .length = 458, .source = 0, .from = 132}}));
  EXPECT_EQ(plan(prompt, known, {.first = 0, .last = 0}),  // the last token's logits are wanted
            (std::vector<CommonRun>{{.begin = 100, .length = 499, .source = 0, .from = 100}}));
}

TEST(ReusePlan, TakesNothingThatIsNotWorthAStep) {
  const Tokens known = text_of(10000, 500);
  Tokens prompt(known.begin() + 200, known.begin() + 200 + 8 + kShortestCopy + 1);
  EXPECT_EQ(plan(prompt, known, {.first = 8, .last = 1}).size(), 1);
  prompt.pop_back();
  EXPECT_TRUE(plan(prompt, known, {.first = 8, .last = 1}).empty());
  EXPECT_TRUE(plan({1}, known, {.first = 8, .last = 1}).empty());
}

TEST(ReusePlan, TakesNothingWhereMostHasToBeComputed) {
  const Tokens known = text_of(10000, 110);
  EXPECT_FALSE(plan(text_of(20000, 110), known, {.first = 1, .last = 4}).empty());
  EXPECT_TRUE(plan(text_of(20000, 110), known, {.first = 1, .last = 5}).empty());
}

}  // namespace
}  // namespace edgewise::reuse
