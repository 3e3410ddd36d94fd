// The other servers that `edgewise serve` is told of (--node).
#pragma once

#include <string>
#include <vector>

#include "nodes/node.h"

namespace edgewise::app {

struct NodeArguments {
  std::vector<std::string> urls;
  std::string key_file;          // empty: EDGEWISE_NODE_KEY, or none
  std::string authorities_file;  // PEM; empty: the system's
};

// None of them need answer now. `has_keys`: this server asks its clients for keys.
Result<std::vector<nodes::NodeOptions>> read_nodes(const NodeArguments& arguments, bool has_keys);

// What nodes answer takes some five descriptors each.
void raise_descriptor_limit();

}  // namespace edgewise::app
