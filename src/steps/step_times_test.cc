#include "steps/step_times.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace edgewise::steps {
namespace {

StepShape rows_alone(std::int64_t count) {
  StepShape step;
  for (std::int64_t i = 0; i < count; ++i) {
    step.add(1, 100, true);
  }
  return step;
}

TEST(FewRowsCost, LearnsAFloorAndASlope) {
  const auto seconds = [](std::int64_t rows) {
    return std::max(0.025, 0.008 * static_cast<double>(rows));
  };
  StepTimes times(StepCost(1.0, 0.1));
  for (int round = 0; round < 200; ++round) {
    for (std::int64_t rows = 1; rows <= FewRowsCost::kMostRows; ++rows) {
      times.observe(rows_alone(rows), seconds(rows));
    }
  }
  for (std::int64_t rows = 1; rows <= FewRowsCost::kMostRows; ++rows) {
    EXPECT_NEAR(times.seconds(rows_alone(rows)), seconds(rows), 0.05 * seconds(rows)) << rows;
  }
}

}  // namespace
}  // namespace edgewise::steps
