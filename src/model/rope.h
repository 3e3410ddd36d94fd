// Rotation angles of a RopeSpec.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/model_spec.h"

namespace edgewise::model {

// The angle per position of each of the rope_dims / 2 pairs, all scaling applied.
std::vector<double> rope_frequencies(const RopeSpec& rope, std::int64_t rope_dims);

// cos and sin of one position, times the magnitude; each [frequencies.size()].
template <typename T>
void rope_angles(const RopeSpec& rope,
                 std::span<const double> frequencies,
                 std::int64_t position,
                 T* cos,
                 T* sin);

}  // namespace edgewise::model
