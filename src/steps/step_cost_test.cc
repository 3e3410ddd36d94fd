#include "steps/step_cost.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <random>

namespace edgewise::steps {
namespace {

// A machine whose steps cost what it says; `noise`: standard deviation of the logarithm.
struct Machine {
  double fixed = 0.010, few = 0.0010, many = 0.0016, draw = 0.0002, position = 4e-7;
  double noise = 0.0;
  std::mt19937 random{7};

  double exact(const StepShape& s) const {
    const double rows = static_cast<double>(s.rows);
    return fixed + few * std::min(rows, 16.0) + many * std::max(rows - 16.0, 0.0) +
           draw * static_cast<double>(s.logits) + position * static_cast<double>(s.positions);
  }

  double measure(const StepShape& s) {
    return exact(s) * std::exp(std::normal_distribution<double>(0.0, noise)(random));
  }
};

StepShape random_shape(std::mt19937& random) {
  StepShape shape;
  const auto generating = std::uniform_int_distribution<std::int64_t>(0, 24)(random);
  std::uniform_int_distribution<std::int64_t> position(0, 2000);
  for (std::int64_t i = 0; i < generating; ++i) {
    shape.add(1, position(random), true);
  }
  if (generating == 0 || random() % 2 == 0) {
    shape.add(std::uniform_int_distribution<std::int64_t>(1, 256)(random), position(random),
              random() % 4 == 0);
  }
  return shape;
}

double worst_error(const StepCost& cost, const Machine& machine) {
  std::mt19937 random(99);
  double worst = 0.0;
  for (int i = 0; i < 200; ++i) {
    const StepShape shape = random_shape(random);
    worst = std::max(worst, std::abs(cost.seconds(shape) / machine.exact(shape) - 1.0));
  }
  return worst;
}

void learn(StepCost& cost, Machine& machine, int steps, unsigned seed = 3) {
  std::mt19937 random(seed);
  for (int i = 0; i < steps; ++i) {
    const StepShape shape = random_shape(random);
    cost.observe(shape, machine.measure(shape));
  }
}

TEST(StepCost, CountsWhatAStepReads) {
  StepShape shape;
  shape.add(3, 10, true);  // reads 11 + 12 + 13 positions
  EXPECT_EQ(shape.rows, 3);
  EXPECT_EQ(shape.logits, 1);
  EXPECT_EQ(shape.positions, 36);
}

TEST(StepCost, BelievesItsGuessUntilItMeasures) {
  const StepCost cost(0.02, 0.002);
  EXPECT_NEAR(cost.seconds({1, 1, 0}), 0.020, 1e-9);
  EXPECT_NEAR(cost.seconds({101, 1, 0}), 0.220, 1e-9);
}

TEST(StepCost, FindsTheMachineBehindExactMeasurements) {
  StepCost cost(1.0, 0.1);  // far off
  Machine machine;
  learn(cost, machine, 2000);
  EXPECT_LT(worst_error(cost, machine), 0.03);
  EXPECT_LT(cost.error(), 0.03);
}

TEST(StepCost, StandsNoise) {
  StepCost cost(0.02, 0.002);
  Machine machine;
  machine.noise = 0.15;
  learn(cost, machine, 2000);
  EXPECT_LT(worst_error(cost, machine), 0.20);
}

TEST(StepCost, StandsStepsThatSomebodyElseHeldUp) {
  StepCost cost(0.02, 0.002);
  Machine machine;
  std::mt19937 random(5);
  for (int i = 0; i < 3000; ++i) {
    const StepShape shape = random_shape(random);
    cost.observe(shape, machine.measure(shape) * (random() % 20 == 0 ? 20.0 : 1.0));
  }
  EXPECT_LT(worst_error(cost, machine), 0.15);
}

TEST(StepCost, FollowsAMachineThatBecomesSlower) {
  StepCost cost(0.02, 0.002);
  Machine machine;
  learn(cost, machine, 1000);
  for (double* part :
       {&machine.fixed, &machine.few, &machine.many, &machine.draw, &machine.position}) {
    *part *= 1.8;
  }
  learn(cost, machine, 100, 4);
  EXPECT_LT(worst_error(cost, machine), 0.3);
  learn(cost, machine, 6000, 5);  // rare sizes have forgotten as well
  EXPECT_LT(worst_error(cost, machine), 0.05);
}

TEST(StepCost, SmallStepsDoNotUnlearnLargeOnes) {
  StepCost cost(0.02, 0.002);
  Machine machine;
  learn(cost, machine, 1000);
  for (std::int64_t i = 0; i < 20'000; ++i) {
    StepShape shape;
    shape.add(1, i % 1000, true);
    cost.observe(shape, machine.measure(shape));
  }
  EXPECT_LT(worst_error(cost, machine), 0.05);
}

TEST(StepCost, GivesTheSameForTheSameMeasurements) {
  StepCost one(0.02, 0.002);
  StepCost two(0.02, 0.002);
  Machine a;
  Machine b;
  a.noise = b.noise = 0.2;
  learn(one, a, 500);
  learn(two, b, 500);
  EXPECT_EQ(one.seconds({37, 5, 1234}), two.seconds({37, 5, 1234}));
}

RC_GTEST_PROP(StepCostProperty, NeverFallsWithMoreWorkAndIsAlwaysANumber, ()) {
  StepCost cost(*rc::gen::inRange(1, 100) * 1e-3, *rc::gen::inRange(1, 100) * 1e-4);
  const auto steps = *rc::gen::inRange(0, 60);
  for (int i = 0; i < steps; ++i) {  // measurements that fit no machine at all
    const StepShape shape{*rc::gen::inRange<std::int64_t>(1, 600),
                          *rc::gen::inRange<std::int64_t>(0, 40),
                          *rc::gen::inRange<std::int64_t>(0, 1'000'000)};
    cost.observe(shape, *rc::gen::inRange(0, 1'000'000) * 1e-6);
  }
  const StepShape small{*rc::gen::inRange<std::int64_t>(1, 300),
                        *rc::gen::inRange<std::int64_t>(0, 20),
                        *rc::gen::inRange<std::int64_t>(0, 100'000)};
  StepShape large = small;
  large.add(*rc::gen::inRange<std::int64_t>(0, 300), *rc::gen::inRange<std::int64_t>(0, 1000),
            true);
  RC_ASSERT(std::isfinite(cost.seconds(small)));
  RC_ASSERT(cost.seconds(small) >= 0.0);
  RC_ASSERT(cost.seconds(large) >= cost.seconds(small));
}

RC_GTEST_PROP(StepCostProperty, FillsALimitToTheLastToken, ()) {
  StepCost cost(0.02, 0.002);
  Machine machine;
  learn(cost, machine, 50);
  StepShape shape;
  const auto generating = *rc::gen::inRange<std::int64_t>(0, 20);
  for (std::int64_t i = 0; i < generating; ++i) {
    shape.add(1, 100 * i, true);
  }
  const auto position = *rc::gen::inRange<std::int64_t>(0, 3000);
  const auto wanted = *rc::gen::inRange<std::int64_t>(0, 600);
  const double limit = *rc::gen::inRange(1, 500) * 1e-3;
  const std::int64_t tokens = cost.tokens_within(shape, position, wanted, limit);
  RC_ASSERT(tokens >= 0 && tokens <= wanted);
  StepShape with = shape;
  with.add(tokens, position, true);
  RC_ASSERT(tokens == 0 || cost.seconds(with) <= limit);
  StepShape more = shape;
  more.add(tokens + 1, position, true);
  RC_ASSERT(tokens == wanted || cost.seconds(more) > limit);
}

}  // namespace
}  // namespace edgewise::steps
