// From a set of candidates, joined to what already runs, to the time at which each would finish.
//
// finish_times() is the one definition: the solver, the greedy baselines and the tests' exhaustive search all
// decide by it. It must be monotone: adding a candidate makes nobody finish earlier. Then every part of a set
// that is in time is in time itself, which is what makes pruning exact. The other functions only help to prune.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "schedule/candidate.h"

namespace edgewise::schedule {

struct Finish {
  double first_token_s = 0.0;
  double last_token_s = 0.0;
};

struct FinishTimes {
  std::vector<Finish> set;      // as the set that was asked about
  std::vector<Finish> running;  // what runs already, in the model's own order
};

class CostModel {
 public:
  // Sums that bound the time of a set from below, see time_needs().
  static constexpr std::size_t kTimeRows = 3;
  using TimeRow = std::array<double, kTimeRows>;

  virtual ~CostModel() = default;

  // `times` is overwritten; passing the same one again saves allocations.
  virtual void finish_times(std::span<const Candidate> set, FinishTimes& times) const = 0;

  // Latest times of each running request that may not be broken, as finish_times() orders them; kNever where none.
  virtual std::span<const Finish> running_deadlines() const { return {}; }

  // Whether every member of `set` meets its deadlines and nobody running loses his.
  bool in_time(std::span<const Candidate> set, FinishTimes& times) const;

  // The order of urgency: of a set, the member with the least slack is its pivot (first index among equals).
  virtual double slack(const Candidate& candidate) const = 0;

  // For any set that is in time and whose pivot is `pivot`: in each row the needs of all members, the pivot
  // included, sum to at most the capacity. Unused rows need 0 of kNever.
  virtual TimeRow time_needs(const Candidate& pivot, const Candidate& member) const = 0;
  virtual TimeRow time_capacity(const Candidate& pivot) const = 0;

  // At most time_needs(any pivot, member)[0].
  virtual double least_need(const Candidate& member) const = 0;

  // Whether `a` in place of `b`, in any set that is in time and has a pivot other than `b` with no more slack than
  // `a`'s, leaves it in time.
  virtual bool no_slower(const Candidate& a, const Candidate& b) const = 0;
};

// Every limit: what `capacity` has and everybody's time; and no request twice.
bool is_feasible(std::span<const Candidate> set,
                 const CostModel& cost,
                 const Capacity& capacity,
                 FinishTimes& times);

}  // namespace edgewise::schedule
