#include "engine/scheduler.h"

#include <algorithm>

namespace edgewise::engine {

std::vector<std::int64_t> plan_step(std::span<const Progress> sequences, std::int64_t budget) {
  std::vector<std::int64_t> shares(sequences.size(), 0);
  std::int64_t left = budget;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    if (sequences[i].target - sequences[i].computed == 1) {
      shares[i] = 1;
      --left;
    }
  }
  bool first_in_line = true;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const std::int64_t missing = sequences[i].target - sequences[i].computed;
    if (missing <= 1) {
      continue;
    }
    if (sequences[i].indivisible) {
      // Later ones must not overtake it, or a stream of short prompts could keep it out for ever.
      if (missing > left && !first_in_line) {
        break;
      }
      shares[i] = missing;
    } else {
      shares[i] = std::clamp<std::int64_t>(left, 0, missing);
    }
    left -= shares[i];
    first_in_line = false;
  }
  return shares;
}

}  // namespace edgewise::engine
