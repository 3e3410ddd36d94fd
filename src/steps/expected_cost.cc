#include "steps/expected_cost.h"

namespace edgewise::steps {

// Weights come at 8 GB/s and are multiplied at 80 G/s, as on two cores of 2024.
StepCost expected_cost(const model::Model& model) {
  constexpr double kBytesPerSecond = 8e9;
  constexpr double kMacsPerSecond = 80e9;
  const double row = static_cast<double>(model.macs_per_token()) / kMacsPerSecond + 1e-6;
  return {static_cast<double>(model.weight_bytes_per_token()) / kBytesPerSecond + row, row};
}

}  // namespace edgewise::steps
