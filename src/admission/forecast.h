// When a request would be answered if it came now, and what it would take from the others: for whoever
// has to choose between engines. From the engine's last snapshot, through the cost functions that its own
// admission uses (admission/serving_cost.h, schedule/step_cost.h). Pure functions.
#pragma once

#include <cstdint>

#include "admission/prospect.h"
#include "admission/selection.h"

namespace edgewise::admission {

// How an engine stands.
struct Load {
  Snapshot snapshot;
  schedule::StepCost plain;  // measured costs without caution, and without what other engines take
  std::int64_t usual_answer = 256;  // tokens, where an answer ends by itself
  std::int64_t least_answer = 1;    // ... that hardly any is shorter than
  std::int64_t context = 0;
  std::int64_t block_tokens = 64;  // of the blocks in which memory is counted
};

// Its value is 1.
schedule::Candidate candidate_of(const Prospect& prospect, const Load& load, Clock::time_point now);
// The same with the shortest answer that is to be expected: what hope is judged by.
schedule::Candidate least_candidate_of(const Prospect& prospect,
                                       const Load& load,
                                       Clock::time_point now);

// Whether it could be in time if it were the only newcomer, first in line, and its answer short.
bool may_be_in_time(const Load& load, const Prospect& prospect, Clock::time_point now);

// As if all that wait would be let in with it, which is late rather than early.
Forecast forecast(const Load& load, const Prospect& prospect, Clock::time_point now);

}  // namespace edgewise::admission
