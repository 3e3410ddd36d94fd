// The random cases on which claims are checked.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "simulate/random.h"
#include "simulate/scenario.h"

namespace edgewise::simulate {

// A node and requests that all came just now, as the workload draws them. `link_load` multiplies the bits of a token:
// with the paper's own, its server's link never binds.
schedule::NodeProblem draw_problem(const Node& node,
                                   const Workload& workload,
                                   std::size_t requests,
                                   double link_load,
                                   Random& random);

// Each candidate's link needs anew, uplink and downlink independent of each other.
void redraw_links(schedule::NodeProblem& problem, double most, Random& random);

// Each request's value anew, the same for all its candidates.
void redraw_values(schedule::NodeProblem& problem, Random& random);

// A running batch of a few sequences on a node with measured steps, and requests that would join.
schedule::NodeProblem draw_joining(const Node& node,
                                   const Workload& workload,
                                   std::size_t requests,
                                   Random& random);

}  // namespace edgewise::simulate
