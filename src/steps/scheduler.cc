#include "steps/scheduler.h"

#include <algorithm>

namespace edgewise::steps {

double StepLimits::seconds(const StepShape& generating, const StepCost& cost) const {
  if (generating.rows == 0) {
    return alone_seconds;
  }
  return shared_seconds > 0.0 ? shared_seconds : stall * cost.seconds(generating);
}

void plan_step(std::span<const Progress> sequences,
               const StepLimits& limits,
               const StepCost& cost,
               std::vector<std::int64_t>& shares) {
  shares.assign(sequences.size(), 0);
  StepShape step;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    if (sequences[i].is_generating()) {
      shares[i] = 1;
      step.add(1, sequences[i].computed, /*draws=*/true);
    }
  }
  const double seconds = limits.seconds(step, cost);
  bool first_in_line = true;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const Progress& sequence = sequences[i];
    if (sequence.is_generating()) {
      continue;
    }
    const std::int64_t room =
        std::clamp<std::int64_t>(limits.tokens - step.rows, 0, sequence.missing());
    std::int64_t tokens = cost.tokens_within(step, sequence.computed, room, seconds);
    if (sequence.indivisible) {
      // Later ones must not overtake it, or a stream of short prompts could keep it out for ever.
      if (tokens < sequence.missing() && !first_in_line) {
        break;
      }
      tokens = sequence.missing();
    } else if (first_in_line) {
      tokens = std::max<std::int64_t>(tokens, 1);
    }
    shares[i] = tokens;
    step.add(tokens, sequence.computed, tokens == sequence.missing());
    first_in_line = false;
    if (tokens < sequence.missing()) {
      break;
    }
  }
}

}  // namespace edgewise::steps
