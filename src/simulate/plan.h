// One decision over given nodes and requests: who is served where, with which variant and which share of the links.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "schedule/assign.h"
#include "simulate/scenario.h"

namespace edgewise::simulate {

struct Service {
  std::int32_t node = -1;  // -1: not served, `reason` says why
  std::string variant;
  std::string reason;
  double uplink = 0.0;  // least shares, 0 without a radio
  double downlink = 0.0;
  double memory_bytes = 0.0;  // keys and values
  double first_token_s = 0.0;
  double last_token_s = 0.0;
};

struct NodeUse {
  std::int64_t requests = 0;
  double memory_bytes = 0.0;  // with the weights that are loaded or will be
  double uplink = 0.0;
  double downlink = 0.0;
};

struct Plan {
  std::vector<Service> services;  // of each request
  std::vector<NodeUse> uses;      // of each node
  schedule::Assignment assignment;
};

Plan make_plan(std::span<const Node> nodes,
               std::span<const PlannedRequest> requests,
               const schedule::AssignOptions& options);

}  // namespace edgewise::simulate
