// Means over seeds with their 95 % confidence intervals.
#pragma once

#include <span>

namespace edgewise::simulate {

struct Estimate {
  double mean = 0.0;
  double half_width = 0.0;  // of the 95 % interval by Student's t; 0 for fewer than two samples
};

Estimate estimate(std::span<const double> samples);

// Of b - a, sample by sample: the seeds are the same, so what they share cancels.
Estimate paired_difference(std::span<const double> a, std::span<const double> b);

}  // namespace edgewise::simulate
