#include "schedule/greedy.h"

#include <algorithm>
#include <numeric>

#include "schedule/usage.h"

namespace edgewise::schedule {
namespace {

double rank(const Candidate& candidate, const CostModel& cost, GreedyOrder order) {
  switch (order) {
    case GreedyOrder::kArrival:
      return 0.0;
    case GreedyOrder::kSlack:
      return cost.slack(candidate);
    case GreedyOrder::kShortestOutput:
      return static_cast<double>(candidate.output_tokens);
    case GreedyOrder::kShortestTime:
      return cost.time_needs(candidate, candidate)[0];
    case GreedyOrder::kValueDensity:
      return cost.time_needs(candidate, candidate)[0] / candidate.value;
  }
  return 0.0;
}

}  // namespace

std::vector<std::int32_t> select_greedily(std::span<const Candidate> candidates,
                                          const CostModel& cost,
                                          const Capacity& capacity,
                                          GreedyOrder order) {
  std::vector<double> ranks(candidates.size());
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    ranks[i] = rank(candidates[i], cost, order);
  }
  std::vector<std::int32_t> sequence(candidates.size());
  std::iota(sequence.begin(), sequence.end(), 0);
  std::stable_sort(sequence.begin(), sequence.end(), [&](std::int32_t a, std::int32_t b) {
    return ranks[static_cast<std::size_t>(a)] < ranks[static_cast<std::size_t>(b)];
  });
  std::vector<std::int32_t> chosen;
  std::vector<Candidate> set;
  Usage usage(capacity);
  FinishTimes times;
  for (const std::int32_t i : sequence) {
    const Candidate& candidate = candidates[static_cast<std::size_t>(i)];
    if (candidate.value <= 0.0 || !usage.fits(candidate)) {
      continue;
    }
    set.push_back(candidate);
    if (cost.in_time(set, times)) {
      usage.add(candidate);
      chosen.push_back(i);
    } else {
      set.pop_back();
    }
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

double total_value(std::span<const Candidate> candidates, std::span<const std::int32_t> chosen) {
  double value = 0.0;
  for (const std::int32_t i : chosen) {
    value += candidates[static_cast<std::size_t>(i)].value;
  }
  return value;
}

}  // namespace edgewise::schedule
