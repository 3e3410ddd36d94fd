// OT, optimal tree search: the set of candidates that is worth most among all that keep every limit.
//
// Branch and bound. The subsets are split by their most urgent member (the pivot), which fixes how much time there
// is; inside, a depth-first search takes or skips one candidate at a time, most value per need first. It cuts
// where an upper bound (the fractional knapsack over a weighted sum of the limits) cannot beat the best set so far,
// and where a skipped candidate is at least as good as the next in every respect (a Pareto order: uplink and
// downlink needs are compared apart, which a single sort key cannot do).
//
// Exact, for counts and for weighted values, when it ends within its limits; else it gives the best set found and
// a bound that no set exceeds. The same input gives the same answer: only max_nodes and out_of_time can end it early,
// and only the latter depends on a clock.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "schedule/candidate.h"
#include "schedule/cost_model.h"

namespace edgewise::schedule {

struct SearchLimits {
  std::int64_t max_nodes = 100'000;        // decisions "take or skip"
  std::function<bool()> out_of_time = {};  // asked every few nodes; empty: never
};

struct Selection {
  std::vector<std::int32_t> chosen;  // indices of candidates, ascending
  double value = 0.0;
  double upper_bound = 0.0;  // equals value when optimal
  bool is_optimal = true;
  std::int64_t nodes = 0;
};

Selection select_batch(std::span<const Candidate> candidates,
                       const CostModel& cost,
                       const Capacity& capacity,
                       const SearchLimits& limits = {});

}  // namespace edgewise::schedule
