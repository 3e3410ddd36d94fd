// The plain search through every set that keeps the limits: brute force, as a baseline and as the tests' truth.
// Uses nothing of select_batch but the definitions: is_feasible() and finish_times().
#pragma once

#include <cstdint>
#include <span>

#include "schedule/select_batch.h"

namespace edgewise::schedule {

// Visits every feasible set and every infeasible one that is one candidate larger; up to 2^n nodes. Stops early,
// with is_optimal false and no bound worth the name, after max_nodes.
Selection select_exhaustively(std::span<const Candidate> candidates,
                              const CostModel& cost,
                              const Capacity& capacity,
                              std::int64_t max_nodes = std::int64_t{1} << 40);

}  // namespace edgewise::schedule
