// What is told of requests that other servers answer. Counters since start, and gauges.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace edgewise::api {

struct PlacementStats {
  struct Node {
    std::string url;
    bool is_up = false;
    std::int64_t running = 0;          // being answered there
    std::int64_t forwarded_total = 0;  // requests given to it
    std::int64_t returned_total =
        0;                        // ... that it gave back, refusing or vanishing, before any answer
    std::int64_t lost_total = 0;  // ... answers cut in the middle
  };

  std::vector<Node> nodes;
  std::int64_t waiting = 0;     // for any engine to have time
  std::int64_t here_total = 0;  // answered by this server
  // Kernel of the assignment: how often it was made, and what it may have missed (value of the bound over the value
  // found, summed).
  std::int64_t assignments_total = 0;
  double assignment_gap_total = 0.0;
  double assignment_seconds_total = 0.0;  // that they took, of one core
};

}  // namespace edgewise::api
