#include "nodes/place.h"

#include <fmt/format.h>

#include <algorithm>

namespace edgewise::nodes {
namespace {

constexpr std::chrono::milliseconds kForgets{2000};  // that a node gave a request back

}  // namespace

bool Place::is_called(const api::PlacedRequest& request) const {
  return here != nullptr
             ? std::ranges::find(request.ids, model) != request.ids.end()
             : group == request.name || std::ranges::find(request.ids, model) != request.ids.end();
}

bool Place::serves(const Entry& entry, Node::Clock::time_point now) const {
  const api::PlacedRequest& request = *entry.request;
  const auto tried = entry.tried.find(node);
  const bool was_tried_lately = tried != entry.tried.end() && now - tried->second < kForgets;
  return here != nullptr ? std::ranges::find(request.here, here) != request.here.end()
                         : is_called(request) && !was_tried_lately &&
                               request.service.min_accuracy.value_or(0.0) <= accuracy &&
                               request.prospect.prompt_tokens < load.context;
}

admission::Prospect Place::prospect_of(const api::PlacedRequest& request,
                                       const PrefixMemory& memory) const {
  admission::Prospect prospect = request.prospect;
  prospect.cached_tokens = static_cast<std::int64_t>(
      api::PlacedRequest::kBlock * memory.known(request.tenant, name(), request.beginnings));
  return prospect;
}

void Place::add_waiting(const admission::Prospect& prospect,
                        std::int64_t sequences,
                        Node::Clock::time_point now) {
  admission::Contender contender;
  contender.candidate = admission::candidate_of(prospect, load, now);
  load.snapshot.waiting.insert(load.snapshot.waiting.end(), static_cast<std::size_t>(sequences),
                               contender);
}

std::string Place::name() const {
  return fmt::format("{} {}", node != nullptr ? node->url() : "", model);
}

bool Place::has_room() const {
  const admission::Snapshot& snapshot = load.snapshot;
  return snapshot.waiting.size() < kMostAhead ||
         snapshot.capacity.count > std::ssize(snapshot.waiting);
}

}  // namespace edgewise::nodes
