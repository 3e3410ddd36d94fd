#include "schedule/cost_model.h"

namespace edgewise::schedule {

bool CostModel::in_time(std::span<const Candidate> set, FinishTimes& times) const {
  finish_times(set, times);
  for (std::size_t i = 0; i < set.size(); ++i) {
    if (times.set[i].last_token_s == kNever ||  // even without a deadline it has to end
        !within(times.set[i].last_token_s, set[i].deadline_s) ||
        !within(times.set[i].first_token_s, set[i].first_token_s)) {
      return false;
    }
  }
  const std::span<const Finish> deadlines = running_deadlines();
  for (std::size_t i = 0; i < deadlines.size(); ++i) {
    if (!within(times.running[i].last_token_s, deadlines[i].last_token_s) ||
        !within(times.running[i].first_token_s, deadlines[i].first_token_s)) {
      return false;
    }
  }
  return true;
}

bool is_feasible(std::span<const Candidate> set,
                 const CostModel& cost,
                 const Capacity& capacity,
                 FinishTimes& times) {
  for (std::size_t i = 0; i < set.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (set[i].request == set[j].request) {
        return false;
      }
    }
  }
  return fits(set, capacity) && cost.in_time(set, times);
}

}  // namespace edgewise::schedule
