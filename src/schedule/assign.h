// GAH, generalized assignment heuristics: which node serves which request, with which variant.
//
// The residual-profit method (Cohen, Katzir and Raz, 2006) with select_batch as its inner solver: node after node
// picks its best set, where a request that an earlier node holds counts only for what it is worth more here. With an
// exact inner solver the result is worth at least half of the optimum, for any order of the nodes. Here several
// orders are tried and the best result is improved by local search, which only adds.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "schedule/node.h"
#include "schedule/select_batch.h"

namespace edgewise::schedule {

struct AssignOptions {
  SearchLimits search = {};  // of each call of select_batch
  bool all_orders = true;  // of up to four nodes; of more: as given and backwards. False: as given
  bool local_search = true;
  int bound_rounds =
      30;  // of tightening the upper bound; 0: each request at its best, and nodes alone
};

struct Assignment {
  std::vector<std::vector<std::int32_t>>
      chosen;  // of each node: indices of its candidates, ascending
  double value = 0.0;
  double upper_bound = 0.0;   // no assignment is worth more
  double greedy_value = 0.0;  // before local search
  bool has_guarantee =
      false;  // in some order every search was exact: value is at least half of the optimum
  std::int64_t nodes = 0;  // of all inner searches
};

// Candidates of all nodes with the same `request` exclude each other.
Assignment assign(std::span<const NodeProblem> nodes, const AssignOptions& options = {});

// Truth for small instances: every feasible assignment.
Assignment assign_exhaustively(std::span<const NodeProblem> nodes);

}  // namespace edgewise::schedule
