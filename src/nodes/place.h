// A model's engine, here or on another server, and a request that waits for one: what a decision about them looks at. The
// deciding thread's.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "admission/forecast.h"
#include "api/placement.h"
#include "nodes/node.h"
#include "nodes/prefix_memory.h"

namespace edgewise::nodes {

inline constexpr std::size_t kMostAhead = 8;  // wait in an engine

// A request that waits.
struct Entry {
  std::unique_ptr<api::PlacedRequest> request;
  std::map<const Node*, Node::Clock::time_point> tried = {};  // gave it back then
  std::optional<Node::Clock::time_point> unserved_since =
      std::nullopt;              // no engine is known that could answer
  int losses = 0;                // of them that vanished with it
  double charged_seconds = 0.0;  // by who gave it back
  bool is_new = true;
};

// Of an engine, how it stands, with what is on its way to it.
struct Place {
  std::shared_ptr<api::Backend> here = nullptr;  // null: elsewhere
  Node* node = nullptr;
  std::string model;
  std::string group = {};
  double accuracy = 0.0;
  admission::Load load = {};

  bool is_called(const api::PlacedRequest& request) const;  // as it asks for
  bool serves(const Entry& entry, Node::Clock::time_point now) const;
  bool has_room() const;
  std::string name() const;
  // The request as it would be in this engine, by what was sent there before.
  admission::Prospect prospect_of(const api::PlacedRequest& request,
                                  const PrefixMemory& memory) const;
  void add_waiting(const admission::Prospect& prospect,
                   std::int64_t sequences,
                   Node::Clock::time_point now);
};

}  // namespace edgewise::nodes
