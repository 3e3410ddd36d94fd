#include "steps/step_cost.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace edgewise::steps {
namespace {

constexpr double kFewRows = 16;     // as many as a matrix product takes at once
constexpr double kForget = 0.98;    // a size remembers its last 50 steps
constexpr double kRecent = 0.05;    // weight of a step in drift and error: the last 20
constexpr double kMostDrift = 0.7;  // a factor of 2
constexpr double kBeliefWeight = 0.01;
constexpr double kLeastError = 0.05;       // below it no step is an outlier
constexpr double kOutlier = 2.0;           // in units of the error
constexpr double kPositionsPerRow = 2000;  // guess: attention to so many costs one row of weights
constexpr int kSweeps = 100;

}  // namespace

void StepShape::add(std::int64_t tokens, std::int64_t position, bool draws) {
  rows += tokens;
  logits += draws ? 1 : 0;
  positions += tokens * position + tokens * (tokens + 1) / 2;
}

void StepCost::Moments::forget(double factor) {
  for (std::size_t i = 0; i < kTerms; ++i) {
    for (double& value : xx[i]) {
      value *= factor;
    }
    xy[i] *= factor;
  }
}

// x . coefficients = seconds, as a relative error.
void StepCost::Moments::add(const Terms& x, double seconds, double weight) {
  for (std::size_t i = 0; i < kTerms; ++i) {
    for (std::size_t j = 0; j < kTerms; ++j) {
      xx[i][j] += weight * x[i] * x[j] / (seconds * seconds);
    }
    xy[i] += weight * x[i] / seconds;
  }
}

StepCost::StepCost(double first_row, double further_row) {
  believe({std::max(first_row - further_row, 0.0), further_row, further_row, 0.0,
           further_row / kPositionsPerRow});
}

void StepCost::believe(const Terms& coefficients) {
  coefficients_ = coefficients;
  belief_ = {};
  for (const StepShape& shape :
       {StepShape{1, 1, 1}, StepShape{16, 16, 16}, StepShape{256, 1, 32'896}, StepShape{1, 1, 4096},
        StepShape{64, 0, 64}}) {
    belief_.add(terms(shape), fitted(terms(shape)), kBeliefWeight);
  }
}

StepCost::Terms StepCost::terms(const StepShape& shape) {
  const auto rows = static_cast<double>(shape.rows);
  return {1.0, std::min(rows, kFewRows), std::max(rows - kFewRows, 0.0),
          static_cast<double>(shape.logits), static_cast<double>(shape.positions)};
}

double StepCost::fitted(const Terms& x) const {
  double sum = 0.0;
  for (std::size_t i = 0; i < kTerms; ++i) {
    sum += coefficients_[i] * x[i];
  }
  return sum;
}

double StepCost::seconds(const StepShape& shape) const {
  return std::exp(drift_) * fitted(terms(shape));
}

void StepCost::observe(const StepShape& shape, double seconds) {
  if (shape.rows < 1 || !(seconds > 0.0)) {
    return;
  }
  const Terms x = terms(shape);
  if (observations_ == 0) {  // the guess knows how terms compare, not how fast the machine is
    Terms scaled = coefficients_;
    for (double& coefficient : scaled) {
      coefficient *= seconds / fitted(x);
    }
    believe(scaled);
  }
  const double surprise = std::log(seconds / std::max(this->seconds(shape), 1e-12));
  // The first steps of a process correct a guess and are no outliers.
  const double scale = kOutlier * std::max(error_, kLeastError);
  const double weight = observations_ < 10 ? 1.0 : std::min(1.0, scale / std::abs(surprise));
  ++observations_;
  error_ += kRecent * (std::min(std::abs(surprise), 1.0) - error_);

  const auto size =
      static_cast<std::size_t>(std::bit_width(static_cast<std::uint64_t>(shape.rows)));
  Moments& moments = recent_[std::min(size - 1, kSizes - 1)];
  moments.forget(kForget);
  moments.add(x, seconds, weight);
  solve();
  const double left = std::log(seconds / std::max(fitted(x), 1e-12));
  drift_ += kRecent * weight * (std::clamp(left, -kMostDrift, kMostDrift) - drift_);
}

// Coordinate descent for non-negative least squares (Franc, Hlavac, Navara 2005), from where the
// last step left off.
void StepCost::solve() {
  Moments all = belief_;
  for (const Moments& moments : recent_) {
    for (std::size_t i = 0; i < kTerms; ++i) {
      for (std::size_t j = 0; j < kTerms; ++j) {
        all.xx[i][j] += moments.xx[i][j];
      }
      all.xy[i] += moments.xy[i];
    }
  }
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    for (std::size_t i = 0; i < kTerms; ++i) {
      if (all.xx[i][i] <= 0.0) {
        continue;
      }
      double slope = -all.xy[i];
      for (std::size_t j = 0; j < kTerms; ++j) {
        slope += all.xx[i][j] * coefficients_[j];
      }
      coefficients_[i] = std::max(0.0, coefficients_[i] - slope / all.xx[i][i]);
    }
  }
}

std::int64_t StepCost::tokens_within(const StepShape& shape,
                                     std::int64_t position,
                                     std::int64_t wanted,
                                     double limit) const {
  const auto fits = [&](std::int64_t tokens) {
    StepShape larger = shape;
    larger.add(tokens, position, /*draws=*/true);
    return seconds(larger) <= limit;
  };
  std::int64_t low = 0;  // fits, or is nothing
  std::int64_t high = wanted + 1;
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

}  // namespace edgewise::steps
