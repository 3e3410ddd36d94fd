// Requests as they come in: drawn from a workload, the same for the same seed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "simulate/random.h"
#include "simulate/scenario.h"

namespace edgewise::simulate {

struct Arrival {
  double time_s = 0.0;
  schedule::Request request;  // deadlines count from the arrival
  std::vector<double> gains;  // to each node
};

double draw_gain(const Channel& channel, Random& random);
schedule::Request draw_request(const Workload& workload, Random& random);

// In order of time.
std::vector<Arrival> draw_arrivals(const Workload& workload,
                                   std::span<const Node> nodes,
                                   std::uint64_t seed);

}  // namespace edgewise::simulate
