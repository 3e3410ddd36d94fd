#include "steps/step_times.h"

#include <algorithm>
#include <cmath>

namespace edgewise::steps {
namespace {

constexpr double kForget = 0.95;       // a number of rows remembers its last 20 steps
constexpr double kBeliefWeight = 1.0;  // of StepCost's own word, in steps
constexpr double kMostSurprise = 0.7;  // a factor of 2; beyond it somebody else had the machine

}  // namespace

void FewRowsCost::observe(const StepShape& shape, double seconds, const StepCost& cost) {
  if (shape.rows < 1 || shape.rows > kMostRows || !(seconds > 0.0)) {
    return;
  }
  const double surprise = std::log(seconds / std::max(cost.seconds(shape), 1e-12));
  Correction& correction = corrections_[static_cast<std::size_t>(shape.rows)];
  correction.log_factor =
      kForget * correction.log_factor + std::clamp(surprise, -kMostSurprise, kMostSurprise);
  correction.weight = kForget * correction.weight + 1.0;
}

double FewRowsCost::seconds(const StepShape& shape, const StepCost& cost) const {
  const Correction& correction =
      corrections_[static_cast<std::size_t>(std::min(shape.rows, kMostRows))];
  return cost.seconds(shape) *
         std::exp(correction.log_factor / (correction.weight + kBeliefWeight));
}

void StepTimes::observe(const StepShape& shape, double seconds) {
  cost_.observe(shape, seconds);
  few_rows_.observe(shape, seconds, cost_);
}

}  // namespace edgewise::steps
