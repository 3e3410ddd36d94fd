// Who is served now: OT-GAH as the product decides, and what it is compared with.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "schedule/node.h"
#include "schedule/select_batch.h"

namespace edgewise::simulate {

enum class Policy {
  kOtGah,           // exact selection; assignment over several nodes
  kBruteForce,      // every feasible assignment; at most kMostForBruteForce waiting
  kGreedyArrival,   // in order of arrival, whoever still fits in time
  kGreedySlack,     // most urgent first
  kGreedyShortest,  // fewest output tokens first
  kStatic,      // a batch of fixed size in order of arrival, of those that alone would be in time
  kNoBatching,  // one request per accelerator, likewise
  kContinuous,  // first come, first served into a running batch (nodes with measured steps), deadlines unknown
};

inline constexpr std::size_t kMostForBruteForce = 16;
Error too_many_for_brute_force(std::size_t waiting, double now_s);

std::span<const Policy> all_policies();
std::string_view policy_name(Policy policy);
std::optional<Policy> policy_named(std::string_view name);

struct PolicyOptions {
  Policy policy = Policy::kOtGah;
  std::int64_t static_size = 8;
  schedule::SearchLimits search = {.max_nodes = 20'000};
};

// A node at the moment of a decision.
struct OpenNode {
  const schedule::NodeProfile* profile = nullptr;
  std::int64_t accelerators = 1;
  bool is_empty = true;  // nothing runs there
  schedule::NodeProblem problem;
};

struct Decision {
  std::vector<std::vector<std::int32_t>> chosen;  // of each node: indices of its candidates
  bool is_exact = true;                           // no search was cut short
};

// Candidates are in order of arrival.
Decision decide(std::span<OpenNode> nodes, const PolicyOptions& options);

// When each member of a batch on a counted node (FlopCost) is answered. Without batching every accelerator computes one
// request by itself, and slower.
std::vector<double> batch_finish_times(const OpenNode& node,
                                       std::span<const std::int32_t> chosen,
                                       Policy policy);

}  // namespace edgewise::simulate
