#include "admission/machine_price.h"

#include <gtest/gtest.h>

namespace edgewise::admission {
namespace {

using Clock = MachinePrice::Clock;

// A prompt token takes 10 ms, a step of eight 80 ms: 10 ms of each of them.
const schedule::StepCost kCost = {.launch_s = 0.080, .prompt_token_s = 0.010};

Clock::time_point at(double seconds) {
  return Clock::time_point(
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)));
}

TEST(MachinePrice, CountsPromptsAndSharedSteps) {
  EXPECT_NEAR(MachinePrice::machine_seconds(kCost, 100, 50), 1.5, 1e-6);
}

TEST(MachinePrice, IsNothingWhileEverythingFits) {
  MachinePrice price;
  EXPECT_EQ(price.per_second(kCost, at(0.0)), 0.0);
  for (int i = 0; i < 13; ++i) {  // a burst of 19.5 s of work
    price.observe({.worth = 1.0, .prompt_tokens = 100, .output_tokens = 50}, at(100.0));
  }
  EXPECT_EQ(price.per_second(kCost, at(100.0)), 0.0);
}

// Two seconds each, 15 of them, then half a second each, 20: the short ones fit, and five of the long.
TEST(MachinePrice, IsThatOfTheFirstThatDoesNotFit) {
  MachinePrice price;
  for (int i = 0; i < 15; ++i) {
    price.observe({.worth = 1.0, .prompt_tokens = 150, .output_tokens = 50}, at(1.0 + i));
  }
  EXPECT_NEAR(price.per_second(kCost, at(16.0)), 0.5, 1e-6);
  for (int i = 0; i < 20; ++i) {
    price.observe({.worth = 1.0, .prompt_tokens = 40, .output_tokens = 10}, at(16.0));
  }
  EXPECT_NEAR(price.per_second(kCost, at(16.0)), 0.5, 1e-6);
  for (int i = 0; i < 30; ++i) {
    price.observe({.worth = 1.0, .prompt_tokens = 40, .output_tokens = 10}, at(16.0));
  }
  EXPECT_NEAR(price.per_second(kCost, at(16.0)), 2.0, 1e-6);  // even of the short ones not all fit
  EXPECT_EQ(price.per_second(kCost, at(50.0)), 0.0);          // long ago
}

TEST(MachinePrice, WhatIsWorthLessDrivesNobodyOut) {
  MachinePrice price;
  for (int i = 0; i < 9; ++i) {
    price.observe({.worth = 1.0, .prompt_tokens = 100, .output_tokens = 50}, at(1.0));
    price.observe({.worth = 0.01, .prompt_tokens = 40, .output_tokens = 10}, at(1.0));
  }
  EXPECT_EQ(price.per_second(kCost, at(1.0)), 0.0);  // 13.5 s and 4.5 s
  for (int i = 0; i < 1000; ++i) {
    price.observe({.worth = 0.01, .prompt_tokens = 40, .output_tokens = 10}, at(1.0 + 0.01 * i));
  }
  // The latest 512 are remembered, of 5.1 s.
  EXPECT_NEAR(price.per_second(kCost, at(11.0)), 0.02, 1e-6);
}

}  // namespace
}  // namespace edgewise::admission
