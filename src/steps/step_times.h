// What steps cost, where few rows are told from many: StepCost with a correction for each small number of rows.
#pragma once

#include <array>
#include <cstdint>

#include "steps/step_cost.h"

namespace edgewise::steps {

// What a step of few rows takes. StepCost draws a line through all of them; really there is a floor,
// the time to read the weights, then a slope, and stairs where tiles are full. So what it is wrong
// by is learned for each number of rows. One thread.
class FewRowsCost {
 public:
  static constexpr std::int64_t kMostRows = 16;

  // Steps of more rows are ignored.
  void observe(const StepShape& shape, double seconds, const StepCost& cost);
  double seconds(const StepShape& shape, const StepCost& cost) const;

 private:
  struct Correction {
    double log_factor = 0.0;
    double weight = 0.0;
  };

  std::array<Correction, kMostRows + 1> corrections_ = {};  // by rows
};

// What steps of one model take: StepCost, and better for few rows. One thread.
class StepTimes {
 public:
  explicit StepTimes(const StepCost& expected) : cost_(expected) {}

  void observe(const StepShape& shape, double seconds);

  double seconds(const StepShape& shape) const { return few_rows_.seconds(shape, cost_); }

  const StepCost& cost() const { return cost_; }

 private:
  StepCost cost_;
  FewRowsCost few_rows_;
};

}  // namespace edgewise::steps
