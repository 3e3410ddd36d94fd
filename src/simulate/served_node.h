// A node that is one server with one model, simulated by the server's own code: the engine's Runner
// decides, packs steps and ends what is hopeless. Not real are the clock, and the model, which only
// takes the time that the profile says.
#pragma once

#include <span>

#include "base/result.h"
#include "simulate/policy.h"
#include "simulate/simulator.h"
#include "simulate/workload.h"

namespace edgewise::simulate {

// Whether serve() can stand for these nodes: one, with measured steps, of one variant, without a
// link that binds or epochs.
bool is_one_server(std::span<const Node> nodes);

// As simulate(). The server has measured its steps before the first request comes.
Result<Outcome> serve(const Node& node,
                      std::span<const Arrival> arrivals,
                      const PolicyOptions& options);

}  // namespace edgewise::simulate
