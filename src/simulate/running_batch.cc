#include "simulate/running_batch.h"

#include <algorithm>

namespace edgewise::simulate {

double RunningBatch::step() {
  const auto waiting = std::find_if(
      sequences_.begin(), sequences_.end(),
      [](const Sequence& sequence) { return sequence.computed_tokens < sequence.prompt_tokens; });
  return waiting == sequences_.end() ? generate_all() : compute_chunk(*waiting);
}

double RunningBatch::compute_chunk(Sequence& sequence) {
  const schedule::StepCost& own = cost(sequence);
  const std::int64_t from = sequence.computed_tokens;
  const std::int64_t to = std::min(from + own.chunk_tokens, sequence.prompt_tokens);
  double seconds = own.prompt_s(from, to);
  for (Sequence& rider : sequences_) {
    if (rider.answered_tokens > 0 && !rider.is_done()) {
      const std::int64_t positions = rider.prompt_tokens + rider.answered_tokens;
      seconds += cost(rider).row_s + cost(rider).position_s * static_cast<double>(positions);
      ++rider.answered_tokens;
    }
  }
  sequence.computed_tokens = to;
  sequence.answered_tokens = to == sequence.prompt_tokens ? 1 : 0;
  return seconds;
}

double RunningBatch::generate_all() {
  double seconds = 0.0;
  for (std::size_t v = 0; v < profile_->variants.size(); ++v) {
    double rows = 0.0;
    double positions = 0.0;
    for (Sequence& sequence : sequences_) {
      if (sequence.variant == static_cast<std::int32_t>(v) && !sequence.is_done()) {
        rows += 1.0;
        positions += static_cast<double>(sequence.prompt_tokens + sequence.answered_tokens);
        ++sequence.answered_tokens;
      }
    }
    seconds += rows > 0.0 ? profile_->variants[v].step.decode_s(rows, positions) : 0.0;
  }
  return seconds;
}

std::vector<RunningBatch::Sequence> RunningBatch::leave(double now) {
  const auto stays = [&](const Sequence& sequence) {
    return !sequence.is_done() && schedule::within(now, sequence.deadline_s);
  };
  const auto gone = std::stable_partition(sequences_.begin(), sequences_.end(), stays);
  std::vector<Sequence> leaving(gone, sequences_.end());
  sequences_.erase(gone, sequences_.end());
  return leaving;
}

std::vector<schedule::RunningSequence> RunningBatch::snapshot(double now) const {
  std::vector<schedule::RunningSequence> all;
  for (const Sequence& sequence : sequences_) {
    // The prompt's last step gives the first token.
    const std::int64_t answered = std::max<std::int64_t>(sequence.answered_tokens, 1);
    // The last token of the answer is not in the cache yet.
    all.push_back({.variant = sequence.variant,
                   .context_tokens = sequence.prompt_tokens + answered - 1,
                   .remaining_prompt_tokens = sequence.prompt_tokens - sequence.computed_tokens,
                   .remaining_output_tokens = sequence.output_tokens - answered,
                   .deadline_s = sequence.deadline_s - now});
  }
  return all;
}

void RunningBatch::charge(schedule::Capacity& capacity) const {
  capacity.count -= std::ssize(sequences_);
  for (const Sequence& sequence : sequences_) {
    capacity.memory_bytes -= sequence.memory_bytes;
  }
}

}  // namespace edgewise::simulate
