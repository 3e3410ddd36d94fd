// Runs requests through nodes on a virtual clock, event by event. The same input gives the same outcome.
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "simulate/policy.h"
#include "simulate/workload.h"

namespace edgewise::simulate {

struct Outcome {
  std::int64_t offered = 0;
  std::int64_t in_time = 0;
  std::int64_t late = 0;  // admitted, yet answered after the deadline or given up at it
  double value = 0.0;     // of those in time
  std::int64_t decisions = 0;
  std::int64_t cut_short = 0;  // decisions whose search met its limit: not known to be optimal
  double end_s = 0.0;          // when the last was answered or gave up
};

// Clients give up at their deadline. A counted node (flops_per_s) serves one batch at a time: upload, computing,
// download. A node with measured steps takes requests into its running batch at every step; alone and with one variant
// it is a server, and decides and computes as the engine does (served_node.h).
Result<Outcome> simulate(std::span<const Node> nodes,
                         std::span<const Arrival> arrivals,
                         const PolicyOptions& options);

}  // namespace edgewise::simulate
