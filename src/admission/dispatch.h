// Which of several engines answers each of the requests that wait in front of them: GAH (schedule/assign.h) over how the
// engines stand, then spread over them (schedule/spread.h). A pure function.
//
// An engine is given only what it would let in at once, or when it has nothing to do: whoever is not chosen waits, and is asked
// about again when something has changed. Who could not be in time anywhere goes to where he would be least late, whose admission says so.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "admission/forecast.h"
#include "schedule/select_batch.h"

namespace edgewise::admission {

struct Applicant {
  Prospect prospect;
  std::int64_t sequences = 1;                    // as many answers at once
  double worth = 1.0;                            // to be chosen it must be positive
  std::vector<std::int64_t> cached_tokens = {};  // in each engine; empty: nothing in any
  std::vector<bool> may_go = {};                 // to each engine
};

struct Dispatch {
  static constexpr std::int32_t kWaits = -1;

  std::vector<std::int32_t> engine;  // of each applicant
  double value = 0.0;                // of those that are chosen
  double upper_bound = 0.0;          // no choice is worth more
  bool has_guarantee = true;         // worth at least half of the best choice
};

// `engines[e]` null: nothing is known of it, nobody goes there. `limits`: of the search as a whole.
Dispatch dispatch(std::span<const Load* const> engines,
                  std::span<const Applicant> applicants,
                  Clock::time_point now,
                  const schedule::SearchLimits& limits = {});

}  // namespace edgewise::admission
