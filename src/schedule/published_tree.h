// OT as published (Algorithm 2 of the paper; DFTSP in its preprint): the tree over how many requests of each
// class are taken. Kept for comparison: its work is counted with and without pruning, and its order inside a class, by
// one key, is not exact where uplink and downlink needs disagree. The product uses select_batch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "schedule/flop_cost.h"

namespace edgewise::schedule {

struct PublishedResult {
  std::vector<std::int32_t> chosen;  // indices of candidates, ascending
  std::int64_t nodes = 0;  // of all trees, and one for each pair of size and pivot looked at
};

// Maximizes the count. One candidate per request, one loaded variant; `capacity.count` is not looked at.
PublishedResult select_by_published_tree(std::span<const Candidate> candidates,
                                         const FlopCost& cost,
                                         const Capacity& capacity);

// Nodes that the same trees have when nothing is pruned (brute force over classes) and the answer has `answer_size`
// requests: all trees of larger sizes in full, none of that size. Computed, not visited.
double nodes_without_pruning(std::span<const Candidate> candidates,
                             const FlopCost& cost,
                             std::int64_t answer_size);

}  // namespace edgewise::schedule
