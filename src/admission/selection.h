// Which of the waiting requests are let in now: optimal tree search (schedule/select_batch.h) over a
// snapshot of who waits, who runs, what steps cost and what is free. A pure function.
//
// Chosen is the set that is worth most among those that, joined to what runs, finish in time and
// break nobody's deadline. Who could not finish in time even as the only newcomer, first in line, is
// told so at once: joining later never means finishing earlier. Who has waited
// too long and is worth most goes first, and nobody joins before there is room for him.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "admission/serving_cost.h"
#include "base/ids.h"
#include "schedule/candidate.h"
#include "schedule/step_cost.h"
#include "steps/step_cost.h"

namespace edgewise::admission {

struct Contender {
  RequestId id = 0;
  schedule::Candidate candidate;  // its `request` is set here; memory is counted in cache blocks
  std::int64_t least_output_tokens = 1;  // hardly fewer: what hope is judged by
  bool overdue = false;                  // waited longer than anyone should
  // Of the link, where there is one and the request has a deadline: seconds in which it sends the least of it, and those
  // until then. The candidate's deadline is for its last token and comes so much earlier that it can be sent:
  // expected, and at the least.
  double least_send_s = 0.0;
  double send_by_s = schedule::kNever;
  double tail_s = 0.0;
  double least_tail_s = 0.0;
};

struct Snapshot {
  std::vector<Contender> waiting;  // in order of arrival
  std::vector<RunningView> running;
  schedule::StepCost cost;
  schedule::Capacity capacity;
  double prompt_share = 1.0;  // see ServingCost
};

struct Selection {
  struct Hopeless {
    RequestId id = 0;
    double late_s = 0.0;
    bool by_link = false;  // with a faster one it would have had a chance
  };

  std::vector<RequestId> admitted;  // most urgent first
  std::vector<Hopeless> hopeless;
  bool is_alone = false;  // nothing ran: the hopeless are so even alone
  // Of the search: what was found is worth `value`, nothing more than `upper_bound`.
  bool is_optimal = true;
  double value = 0.0;
  double upper_bound = 0.0;
  double seconds = 0.0;  // it took; filled by who measures
};

// `max_nodes` and `out_of_time` end the search early, with the best set so far.
Selection select(const Snapshot& snapshot,
                 std::int64_t max_nodes,
                 const std::function<bool()>& out_of_time = {});

// The engine's learned costs in the planner's terms, each `caution` times as high.
schedule::StepCost planning_cost(const steps::StepCost& cost,
                                 std::int64_t chunk_tokens,
                                 double caution);

}  // namespace edgewise::admission
