#include "simulate/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "schedule/assign.h"
#include "schedule/greedy.h"
#include "schedule/usage.h"

namespace edgewise::simulate {
namespace {

using schedule::Candidate;
using schedule::NodeProblem;

struct NamedPolicy {
  Policy policy;
  std::string_view name;
};

constexpr std::array<NamedPolicy, 8> kNames = {{{Policy::kOtGah, "ot-gah"},
                                                {Policy::kBruteForce, "brute-force"},
                                                {Policy::kGreedyArrival, "greedy-arrival"},
                                                {Policy::kGreedySlack, "greedy-slack"},
                                                {Policy::kGreedyShortest, "greedy-shortest"},
                                                {Policy::kStatic, "static"},
                                                {Policy::kNoBatching, "no-batching"},
                                                {Policy::kContinuous, "continuous-fcfs"}}};

bool is_counted(const OpenNode& node) {
  return node.profile->flops_per_s > 0.0;
}

// Seconds until a candidate of a counted node is answered when one accelerator computes it alone.
double alone_on_one_accelerator(const OpenNode& node, const Candidate& candidate) {
  const double phases = node.profile->upload_s + node.profile->download_s;
  const double computing = node.problem.cost->least_need(candidate);
  const double slow = computing * static_cast<double>(node.accelerators);
  return slow <= node.profile->compute_s ? phases + slow : schedule::kNever;
}

std::vector<std::int32_t> static_batch(const OpenNode& node, std::int64_t size) {
  std::vector<std::int32_t> chosen;
  if (!node.is_empty) {
    return chosen;
  }
  schedule::Usage usage(node.problem.capacity);
  std::vector<Candidate> set;
  schedule::FinishTimes times;
  for (std::size_t c = 0; c < node.problem.candidates.size() && std::ssize(set) < size; ++c) {
    const Candidate& candidate = node.problem.candidates[c];
    if (!usage.fits(candidate) || !node.problem.cost->in_time({&candidate, 1}, times)) {
      continue;  // not even alone
    }
    set.push_back(candidate);
    node.problem.cost->finish_times(set, times);
    if (times.set.back().last_token_s == schedule::kNever) {  // does not fit the computing phase
      set.pop_back();
      continue;
    }
    usage.add(candidate);
    chosen.push_back(static_cast<std::int32_t>(c));
  }
  return chosen;
}

std::vector<std::int32_t> one_per_accelerator(const OpenNode& node) {
  std::vector<std::int32_t> chosen;
  if (!node.is_empty) {
    return chosen;
  }
  const std::int64_t most = is_counted(node) ? node.accelerators : 1;
  schedule::Usage usage(node.problem.capacity);
  for (std::size_t c = 0; c < node.problem.candidates.size() && std::ssize(chosen) < most; ++c) {
    const Candidate& candidate = node.problem.candidates[c];
    const double end = is_counted(node) ? alone_on_one_accelerator(node, candidate) : 0.0;
    if (end < schedule::kNever && end <= candidate.deadline_s && usage.fits(candidate)) {
      usage.add(candidate);
      chosen.push_back(static_cast<std::int32_t>(c));
    }
  }
  return chosen;
}

std::vector<std::int32_t> join_in_order(const OpenNode& node) {
  std::vector<std::int32_t> chosen;
  schedule::Usage usage(node.problem.capacity);
  std::int32_t last_request = -1;
  for (std::size_t c = 0; c < node.problem.candidates.size(); ++c) {
    const Candidate& candidate = node.problem.candidates[c];
    if (candidate.request == last_request) {
      continue;  // another way to serve the same
    }
    if (!usage.fits(candidate)) {
      break;  // whoever came later waits behind
    }
    usage.add(candidate);
    chosen.push_back(static_cast<std::int32_t>(c));
    last_request = candidate.request;
  }
  return chosen;
}

std::vector<std::int32_t> choose_alone(const OpenNode& node, const PolicyOptions& options) {
  const NodeProblem& problem = node.problem;
  const auto greedily = [&](schedule::GreedyOrder order) {
    return select_greedily(problem.candidates, *problem.cost, problem.capacity, order);
  };
  switch (options.policy) {
    case Policy::kGreedyArrival:
      return greedily(schedule::GreedyOrder::kArrival);
    case Policy::kGreedySlack:
      return greedily(schedule::GreedyOrder::kSlack);
    case Policy::kGreedyShortest:
      return greedily(schedule::GreedyOrder::kShortestOutput);
    case Policy::kStatic:
      return static_batch(node, options.static_size);
    case Policy::kNoBatching:
      return one_per_accelerator(node);
    case Policy::kContinuous:
      return join_in_order(node);
    case Policy::kOtGah:
    case Policy::kBruteForce:
      break;
  }
  return {};
}

// Node after node takes of what the ones before it left.
Decision decide_in_turn(std::span<OpenNode> nodes, const PolicyOptions& options) {
  Decision decision;
  std::set<std::int32_t> taken;
  for (OpenNode& node : nodes) {
    std::erase_if(node.problem.candidates,
                  [&](const Candidate& candidate) { return taken.contains(candidate.request); });
    decision.chosen.push_back(choose_alone(node, options));
    for (const std::int32_t c : decision.chosen.back()) {
      taken.insert(node.problem.candidates[static_cast<std::size_t>(c)].request);
    }
  }
  return decision;
}

}  // namespace

std::span<const Policy> all_policies() {
  static constexpr std::array<Policy, 8> kAll = {
      Policy::kOtGah,          Policy::kBruteForce, Policy::kGreedyArrival, Policy::kGreedySlack,
      Policy::kGreedyShortest, Policy::kStatic,     Policy::kNoBatching,    Policy::kContinuous};
  return kAll;
}

std::string_view policy_name(Policy policy) {
  return std::find_if(kNames.begin(), kNames.end(),
                      [&](const NamedPolicy& its) { return its.policy == policy; })
      ->name;
}

std::optional<Policy> policy_named(std::string_view name) {
  for (const NamedPolicy& its : kNames) {
    if (its.name == name) {
      return its.policy;
    }
  }
  return std::nullopt;
}

Error too_many_for_brute_force(std::size_t waiting, double now_s) {
  return {ErrorCode::kResourceExhausted,
          fmt::format("brute force is for at most {} waiting requests; there are {} at {:.1f} s",
                      kMostForBruteForce, waiting, now_s)};
}

Decision decide(std::span<OpenNode> nodes, const PolicyOptions& options) {
  const bool is_ours = options.policy == Policy::kOtGah;
  if (!is_ours && options.policy != Policy::kBruteForce) {
    return decide_in_turn(nodes, options);
  }
  if (is_ours && nodes.size() == 1) {
    const NodeProblem& problem = nodes[0].problem;
    const schedule::Selection best =
        select_batch(problem.candidates, *problem.cost, problem.capacity, options.search);
    return {.chosen = {best.chosen}, .is_exact = best.is_optimal};
  }
  std::vector<NodeProblem> problems;
  for (OpenNode& node : nodes) {
    problems.push_back(std::move(node.problem));
  }
  const schedule::Assignment best =
      is_ours ? schedule::assign(problems, {.search = options.search, .bound_rounds = -1})
              : schedule::assign_exhaustively(problems);
  for (std::size_t e = 0; e < nodes.size(); ++e) {
    nodes[e].problem = std::move(problems[e]);
  }
  return {.chosen = best.chosen, .is_exact = best.has_guarantee};
}

std::vector<double> batch_finish_times(const OpenNode& node,
                                       std::span<const std::int32_t> chosen,
                                       Policy policy) {
  std::vector<Candidate> set;
  for (const std::int32_t c : chosen) {
    set.push_back(node.problem.candidates[static_cast<std::size_t>(c)]);
  }
  std::vector<double> ends;
  if (policy == Policy::kNoBatching) {
    for (const Candidate& candidate : set) {
      ends.push_back(alone_on_one_accelerator(node, candidate));
    }
    return ends;
  }
  schedule::FinishTimes times;
  node.problem.cost->finish_times(set, times);
  for (const schedule::Finish& finish : times.set) {
    ends.push_back(finish.last_token_s);
  }
  return ends;
}

}  // namespace edgewise::simulate
