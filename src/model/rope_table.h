// Cosines and sines of one RopeSpec for a range of positions, computed in doubles and rounded once.
#pragma once

#include <span>
#include <vector>

#include "model/model_spec.h"

namespace edgewise::model {

class RopeTable {
 public:
  RopeTable(const RopeSpec& spec, std::int64_t dims);

  // Makes positions [0, positions) available.
  void extend(std::int64_t positions);
  const float* cos(std::int64_t position) const { return cos_.data() + position * half_; }
  const float* sin(std::int64_t position) const { return sin_.data() + position * half_; }

  // The angle per position of each pair, after scaling (double, [dims / 2]).
  std::span<const double> frequencies() const { return frequencies_; }

 private:
  std::int64_t half_;
  double magnitude_;
  std::vector<double> frequencies_;
  std::vector<float> cos_, sin_;
};

}  // namespace edgewise::model
