// Who is where: the working state of assign() and its local search.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "schedule/node.h"
#include "schedule/select_batch.h"

namespace edgewise::schedule {

// The candidates of all nodes, by request.
class Ways {
 public:
  // `nodes` must outlive this.
  explicit Ways(std::span<const NodeProblem> nodes);

  std::span<const NodeProblem> nodes() const { return nodes_; }

  std::int32_t requests() const { return requests_; }

  // Indices of a node's candidates of one request.
  std::span<const std::int32_t> of(std::size_t node, std::int32_t request) const {
    return ways_[node][static_cast<std::size_t>(request)];
  }

  const Candidate& candidate(std::size_t node, std::int32_t index) const {
    return nodes_[node].candidates[static_cast<std::size_t>(index)];
  }

  // The most that each request is worth anywhere.
  std::vector<double> best_values() const;

 private:
  std::span<const NodeProblem> nodes_;
  std::int32_t requests_ = 0;
  std::vector<std::vector<std::vector<std::int32_t>>> ways_;  // [node][request]
};

class AssignmentState {
 public:
  // `ways` must outlive this.
  explicit AssignmentState(const Ways& ways);

  const std::vector<std::vector<std::int32_t>>& chosen() const { return chosen_; }

  double value() const;

  // The node that serves a request, -1: none; and what the request is worth there, 0: nothing.
  std::int32_t node_of(std::int32_t request) const;
  double value_of(std::int32_t request) const;

  // Gives the candidate's request to the node; whoever served it before lets go.
  void add(std::size_t node, std::int32_t candidate);
  void release(std::int32_t request);

  // Whether the node's set would be feasible without `out` (-1: nobody) and with `in`.
  bool can_replace(std::size_t node, std::int32_t out, std::int32_t in) const;

 private:
  struct Place {
    std::int32_t node = -1;
    std::int32_t candidate = -1;
  };

  const Ways* ways_;
  std::vector<std::vector<std::int32_t>> chosen_;
  std::vector<Place> places_;  // [request]
};

// Makes changes that add value until there are none: refills a node optimally from its own and the unassigned
// requests; moves a request, or swaps two between nodes, when an unassigned one then fits. Returns the nodes searched.
std::int64_t improve(const Ways& ways, AssignmentState& state, const SearchLimits& limits);

}  // namespace edgewise::schedule
