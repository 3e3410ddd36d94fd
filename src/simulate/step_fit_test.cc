#include "simulate/step_fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "simulate/random.h"

namespace edgewise::simulate {
namespace {

constexpr schedule::StepCost kTruth = {.launch_s = 0.4e-3,
                                       .weights_s = 24e-3,
                                       .row_s = 5e-3,
                                       .position_s = 0.8e-6,
                                       .prompt_token_s = 4.8e-3,
                                       .prompt_pair_s = 0.3e-6,
                                       .chunk_tokens = 128};

// Measured steps of a machine whose costs are kTruth, each off by up to `noise`.
StepFit fit_with_noise(double noise) {
  Random random(7);
  const auto measured = [&](double seconds) {
    return seconds * (1.0 + noise * random.uniform(-1.0, 1.0));
  };
  std::vector<DecodeSample> decode;
  for (const double rows : {1.0, 2.0, 4.0, 8.0, 16.0, 32.0}) {
    for (const double depth : {128.0, 1024.0}) {
      decode.push_back({rows, rows * depth, measured(kTruth.decode_s(rows, rows * depth))});
    }
  }
  std::vector<PromptSample> prompt;
  for (std::int64_t from = 0; from < 2048; from += 128) {
    prompt.push_back({from, 128, measured(kTruth.prompt_s(from, from + 128))});
  }
  return fit_step_cost(decode, prompt, 128);
}

TEST(StepFit, FindsTheCostsBehindExactSteps) {
  const StepFit fit = fit_with_noise(0.0);
  EXPECT_NEAR(fit.cost.launch_s + fit.cost.weights_s, kTruth.launch_s + kTruth.weights_s, 1e-4);
  EXPECT_NEAR(fit.cost.row_s, kTruth.row_s, 1e-4);
  EXPECT_NEAR(fit.cost.position_s, kTruth.position_s, 1e-8);
  EXPECT_NEAR(fit.cost.prompt_token_s, kTruth.prompt_token_s, 1e-5);
  EXPECT_NEAR(fit.cost.prompt_pair_s, kTruth.prompt_pair_s, 1e-8);
  EXPECT_EQ(fit.cost.chunk_tokens, 128);
  EXPECT_LT(fit.decode_error, 0.01);
  EXPECT_LT(fit.prompt_error, 0.01);
}

TEST(StepFit, SaysHowFarItIsOffWhereStepsAreNoisy) {
  const StepFit fit = fit_with_noise(0.1);
  EXPECT_THAT(fit.decode_error, testing::AllOf(testing::Gt(0.02), testing::Lt(0.2)));
  EXPECT_THAT(fit.prompt_error, testing::AllOf(testing::Gt(0.02), testing::Lt(0.2)));
  EXPECT_NEAR(fit.cost.row_s, kTruth.row_s, 0.15 * kTruth.row_s);
}

TEST(StepFit, HasNoNegativeCosts) {
  // Longer contexts that were faster, by chance.
  const std::vector<DecodeSample> decode = {{1, 128, 0.02}, {1, 1024, 0.019}, {4, 512, 0.02}};
  const std::vector<PromptSample> prompt = {{0, 128, 0.5}, {128, 128, 0.4}};
  const StepFit fit = fit_step_cost(decode, prompt, 128);
  EXPECT_GE(fit.cost.launch_s, 0.0);
  EXPECT_GE(fit.cost.row_s, 0.0);
  EXPECT_EQ(fit.cost.position_s, 0.0);
  EXPECT_EQ(fit.cost.prompt_pair_s, 0.0);
}

}  // namespace
}  // namespace edgewise::simulate
