// Selections by a rule of thumb: the first incumbents of the search, and what it is compared with.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "schedule/candidate.h"
#include "schedule/cost_model.h"

namespace edgewise::schedule {

enum class GreedyOrder {
  kArrival,         // as given
  kSlack,           // most urgent first
  kShortestOutput,  // fewest output tokens first
  kShortestTime,    // least time of its own first
  kValueDensity,    // most value per time of its own first
};

// Goes through the candidates in that order and takes each that still fits. Indices, ascending.
std::vector<std::int32_t> select_greedily(std::span<const Candidate> candidates,
                                          const CostModel& cost,
                                          const Capacity& capacity,
                                          GreedyOrder order);

double total_value(std::span<const Candidate> candidates, std::span<const std::int32_t> chosen);

}  // namespace edgewise::schedule
