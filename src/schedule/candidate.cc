#include "schedule/candidate.h"

#include <algorithm>

namespace edgewise::schedule {

bool fits(std::span<const Candidate> set, const Capacity& capacity) {
  if (std::ssize(set) > capacity.count) {
    return false;
  }
  double memory = 0.0;
  double uplink = 0.0;
  double downlink = 0.0;
  for (std::size_t i = 0; i < set.size(); ++i) {
    const auto same = [&](const Candidate& other) { return other.variant == set[i].variant; };
    if (std::none_of(set.begin(), set.begin() + static_cast<std::ptrdiff_t>(i), same)) {
      memory += capacity.load_bytes(set[i].variant);
    }
    memory += set[i].memory_bytes;
    uplink += set[i].uplink;
    downlink += set[i].downlink;
  }
  return within(memory, capacity.memory_bytes) && within(uplink, capacity.uplink) &&
         within(downlink, capacity.downlink);
}

}  // namespace edgewise::schedule
