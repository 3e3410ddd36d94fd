#include "schedule/assignment_state.h"

#include <algorithm>

namespace edgewise::schedule {

Ways::Ways(std::span<const NodeProblem> nodes) : nodes_(nodes), ways_(nodes.size()) {
  for (const NodeProblem& node : nodes) {
    for (const Candidate& candidate : node.candidates) {
      requests_ = std::max(requests_, candidate.request + 1);
    }
  }
  for (std::size_t e = 0; e < nodes.size(); ++e) {
    ways_[e].resize(static_cast<std::size_t>(requests_));
    for (std::size_t c = 0; c < nodes[e].candidates.size(); ++c) {
      ways_[e][static_cast<std::size_t>(nodes[e].candidates[c].request)].push_back(
          static_cast<std::int32_t>(c));
    }
  }
}

std::vector<double> Ways::best_values() const {
  std::vector<double> best(static_cast<std::size_t>(requests_));
  for (const NodeProblem& node : nodes_) {
    for (const Candidate& candidate : node.candidates) {
      double& value = best[static_cast<std::size_t>(candidate.request)];
      value = std::max(value, candidate.value);
    }
  }
  return best;
}

AssignmentState::AssignmentState(const Ways& ways)
    : ways_(&ways),
      chosen_(ways.nodes().size()),
      places_(static_cast<std::size_t>(ways.requests())) {}

double AssignmentState::value() const {
  double total = 0.0;
  for (std::int32_t request = 0; request < ways_->requests(); ++request) {
    total += value_of(request);
  }
  return total;
}

std::int32_t AssignmentState::node_of(std::int32_t request) const {
  return places_[static_cast<std::size_t>(request)].node;
}

double AssignmentState::value_of(std::int32_t request) const {
  const Place& place = places_[static_cast<std::size_t>(request)];
  return place.node < 0
             ? 0.0
             : ways_->candidate(static_cast<std::size_t>(place.node), place.candidate).value;
}

void AssignmentState::add(std::size_t node, std::int32_t index) {
  const std::int32_t request = ways_->candidate(node, index).request;
  release(request);
  std::vector<std::int32_t>& set = chosen_[node];
  set.insert(std::lower_bound(set.begin(), set.end(), index), index);
  places_[static_cast<std::size_t>(request)] = {static_cast<std::int32_t>(node), index};
}

void AssignmentState::release(std::int32_t request) {
  Place& place = places_[static_cast<std::size_t>(request)];
  if (place.node >= 0) {
    std::vector<std::int32_t>& set = chosen_[static_cast<std::size_t>(place.node)];
    set.erase(std::lower_bound(set.begin(), set.end(), place.candidate));
    place = {};
  }
}

bool AssignmentState::can_replace(std::size_t node, std::int32_t out, std::int32_t in) const {
  std::vector<Candidate> set;
  for (const std::int32_t member : chosen_[node]) {
    if (member != out) {
      set.push_back(ways_->candidate(node, member));
    }
  }
  set.push_back(ways_->candidate(node, in));
  FinishTimes times;
  const NodeProblem& problem = ways_->nodes()[node];
  return is_feasible(set, *problem.cost, problem.capacity, times);
}

}  // namespace edgewise::schedule
