#include "nodes/prefix_memory.h"

#include "base/hash.h"

namespace edgewise::nodes {
namespace {

std::uint64_t key_of(std::uint64_t place, std::uint64_t beginning) {
  return split_mix(place ^ split_mix(beginning));
}

std::uint64_t place_of(std::string_view owner, const std::string& engine) {
  return split_mix(fnv1a(owner)) ^ fnv1a(engine);
}

}  // namespace

// From the last to the first, so that a beginning is forgotten after those that go on from it.
void PrefixMemory::add(std::string_view owner,
                       const std::string& engine,
                       std::span<const std::uint64_t> beginnings) {
  const std::uint64_t place = place_of(owner, engine);
  for (std::size_t i = beginnings.size(); i-- > 0;) {
    const std::uint64_t key = key_of(place, beginnings[i]);
    const auto found = known_.find(key);
    if (found != known_.end()) {
      latest_.splice(latest_.begin(), latest_, found->second);
      continue;
    }
    latest_.push_front(key);
    known_.emplace(key, latest_.begin());
    if (known_.size() > most_) {
      known_.erase(latest_.back());
      latest_.pop_back();
    }
  }
}

std::size_t PrefixMemory::known(std::string_view owner,
                                const std::string& engine,
                                std::span<const std::uint64_t> beginnings) const {
  const std::uint64_t place = place_of(owner, engine);
  std::size_t count = 0;
  while (count < beginnings.size() && known_.contains(key_of(place, beginnings[count]))) {
    ++count;
  }
  return count;
}

}  // namespace edgewise::nodes
