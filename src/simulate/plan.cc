#include "simulate/plan.h"

#include <algorithm>

namespace edgewise::simulate {
namespace {

using schedule::Candidate;
using schedule::NodeProblem;

std::vector<NodeProblem> make_problems(std::span<const Node> nodes,
                                       std::span<const PlannedRequest> requests) {
  std::vector<schedule::Request> plain;
  for (const PlannedRequest& planned : requests) {
    plain.push_back(planned.request);
  }
  std::vector<NodeProblem> problems;
  for (std::size_t e = 0; e < nodes.size(); ++e) {
    std::vector<double> gains;
    for (const PlannedRequest& planned : requests) {
      gains.push_back(planned.gains[e]);
    }
    problems.push_back(make_node_problem(nodes[e].profile, plain, gains));
  }
  return problems;
}

NodeUse use_of(const Node& node, std::span<const Candidate> set) {
  NodeUse use{.requests = std::ssize(set)};
  std::vector<bool> is_used(node.profile.variants.size());
  for (const Candidate& candidate : set) {
    is_used[static_cast<std::size_t>(candidate.variant)] = true;
    use.memory_bytes += candidate.memory_bytes;
    use.uplink += candidate.uplink;
    use.downlink += candidate.downlink;
  }
  for (std::size_t v = 0; v < is_used.size(); ++v) {
    const schedule::Variant& variant = node.profile.variants[v];
    use.memory_bytes += is_used[v] || variant.is_loaded ? variant.weight_bytes : 0.0;
  }
  return use;
}

std::string why_not(std::span<const NodeProblem> problems, std::int32_t request) {
  bool has_variant = false;
  schedule::FinishTimes times;
  for (const NodeProblem& problem : problems) {
    for (const Candidate& candidate : problem.candidates) {
      if (candidate.request != request) {
        continue;
      }
      has_variant = true;
      if (schedule::is_feasible({&candidate, 1}, *problem.cost, problem.capacity, times)) {
        return "no room beside the others";
      }
    }
  }
  return has_variant ? "even alone it would not fit or be in time on any node"
                     : "no variant meets its accuracy demand";
}

}  // namespace

Plan make_plan(std::span<const Node> nodes,
               std::span<const PlannedRequest> requests,
               const schedule::AssignOptions& options) {
  const std::vector<NodeProblem> problems = make_problems(nodes, requests);
  Plan plan;
  plan.assignment = schedule::assign(problems, options);
  plan.services.resize(requests.size());
  for (std::size_t e = 0; e < nodes.size(); ++e) {
    std::vector<Candidate> set;
    for (const std::int32_t c : plan.assignment.chosen[e]) {
      set.push_back(problems[e].candidates[static_cast<std::size_t>(c)]);
    }
    plan.uses.push_back(use_of(nodes[e], set));
    schedule::FinishTimes times;
    problems[e].cost->finish_times(set, times);
    for (std::size_t k = 0; k < set.size(); ++k) {
      const Candidate& candidate = set[k];
      plan.services[static_cast<std::size_t>(candidate.request)] = {
          .node = static_cast<std::int32_t>(e),
          .variant = nodes[e].profile.variants[static_cast<std::size_t>(candidate.variant)].name,
          .reason = {},
          .uplink = candidate.uplink,
          .downlink = candidate.downlink,
          .memory_bytes = candidate.memory_bytes,
          .first_token_s = times.set[k].first_token_s,
          .last_token_s = times.set[k].last_token_s};
    }
  }
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (plan.services[i].node < 0) {
      plan.services[i].reason = why_not(problems, static_cast<std::int32_t>(i));
    }
  }
  return plan;
}

}  // namespace edgewise::simulate
