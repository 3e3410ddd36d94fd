#include "simulate/statistics.h"

#include <array>
#include <cmath>
#include <vector>

#include "base/check.h"

namespace edgewise::simulate {
namespace {

// The 97.5 % quantile of Student's t.
double student_t(std::size_t freedom) {
  static constexpr std::array<double, 30> kTable = {
      12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
      2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
      2.080,  2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042};
  return freedom <= kTable.size() ? kTable[freedom - 1] : 1.96 + 2.5 / static_cast<double>(freedom);
}

}  // namespace

Estimate estimate(std::span<const double> samples) {
  if (samples.empty()) {
    return {};
  }
  const auto n = static_cast<double>(samples.size());
  double sum = 0.0;
  for (const double sample : samples) {
    sum += sample;
  }
  Estimate result{.mean = sum / n, .half_width = 0.0};
  if (samples.size() > 1) {
    double squares = 0.0;
    for (const double sample : samples) {
      squares += (sample - result.mean) * (sample - result.mean);
    }
    result.half_width = student_t(samples.size() - 1) * std::sqrt(squares / (n - 1.0) / n);
  }
  return result;
}

Estimate paired_difference(std::span<const double> a, std::span<const double> b) {
  CHECK(a.size() == b.size(), "{} samples beside {}", a.size(), b.size());
  std::vector<double> differences(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    differences[i] = b[i] - a[i];
  }
  return estimate(differences);
}

}  // namespace edgewise::simulate
