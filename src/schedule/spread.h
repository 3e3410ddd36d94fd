// Moves the requests of an assignment to where everybody ends sooner. GAH only counts what is worth most: a node that has
// time for all of them gets them all, while others stand idle.
//
// One request at a time goes to another node, where every limit is kept and it is worth no less, as long as that makes
// the sum of all times of ending less: those of the assigned, and of what runs already on the two nodes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "schedule/node.h"

namespace edgewise::schedule {

// `chosen`: of each node, indices of its candidates, ascending, as in Assignment; each set keeps its node's limits. The
// result serves the same requests. `max_moves`: tried at most.
std::vector<std::vector<std::int32_t>> spread(std::span<const NodeProblem> nodes,
                                              const std::vector<std::vector<std::int32_t>>& chosen,
                                              std::int64_t max_moves = 10'000);

}  // namespace edgewise::schedule
