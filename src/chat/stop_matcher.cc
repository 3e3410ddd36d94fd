#include "chat/stop_matcher.h"

#include <deque>
#include <utility>

namespace edgewise::chat {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)), nodes_(1) {
  for (std::size_t s = 0; s < stops_.size(); ++s) {
    if (stops_[s].empty()) {
      continue;
    }
    int node = 0;
    for (const char c : stops_[s]) {
      const auto known = nodes_[static_cast<std::size_t>(node)].next.find(c);
      if (known != nodes_[static_cast<std::size_t>(node)].next.end()) {
        node = known->second;
        continue;
      }
      Node added;
      added.depth = nodes_[static_cast<std::size_t>(node)].depth + 1;
      nodes_.push_back(added);
      nodes_[static_cast<std::size_t>(node)].next[c] = static_cast<int>(nodes_.size()) - 1;
      node = static_cast<int>(nodes_.size()) - 1;
    }
    nodes_[static_cast<std::size_t>(node)].stop = static_cast<int>(s);
  }
  link();
}

// Breadth first, so that a node's fallback, which is less deep, is ready before it is needed.
void StopMatcher::link() {
  std::deque<int> open = {0};
  while (!open.empty()) {
    const int parent = open.front();
    open.pop_front();
    for (const auto& [c, child] : nodes_[static_cast<std::size_t>(parent)].next) {
      Node& node = nodes_[static_cast<std::size_t>(child)];
      node.fallback =
          parent == 0 ? 0 : follow(nodes_[static_cast<std::size_t>(parent)].fallback, c);
      if (node.stop < 0) {
        node.stop = nodes_[static_cast<std::size_t>(node.fallback)].stop;
      }
      open.push_back(child);
    }
  }
}

int StopMatcher::follow(int node, char c) const {
  while (true) {
    const Node& at = nodes_[static_cast<std::size_t>(node)];
    if (const auto next = at.next.find(c); next != at.next.end()) {
      return next->second;
    }
    if (node == 0) {
      return 0;
    }
    node = at.fallback;
  }
}

std::string StopMatcher::push(std::string_view text) {
  if (matched_.has_value()) {
    return {};
  }
  std::string out = std::exchange(held_, {});
  for (const char c : text) {
    out.push_back(c);
    node_ = follow(node_, c);
    if (const int stop = nodes_[static_cast<std::size_t>(node_)].stop; stop >= 0) {
      matched_ = stops_[static_cast<std::size_t>(stop)];
      out.resize(out.size() - matched_->size());
      return out;
    }
  }
  const auto keep = static_cast<std::size_t>(nodes_[static_cast<std::size_t>(node_)].depth);
  held_ = out.substr(out.size() - keep);
  out.resize(out.size() - keep);
  return out;
}

std::string StopMatcher::finish() {
  node_ = 0;
  return std::exchange(held_, {});
}

}  // namespace edgewise::chat
