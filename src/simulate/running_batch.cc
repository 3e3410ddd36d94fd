#include "simulate/running_batch.h"

#include <algorithm>

namespace edgewise::simulate {

double RunningBatch::step(std::optional<std::int64_t> queued) {
  const auto waiting = std::find_if(
      sequences_.begin(), sequences_.end(),
      [](const Sequence& sequence) { return sequence.computed_tokens < sequence.prompt_tokens; });
  return waiting == sequences_.end() ? generate_all() : compute_chunk(*waiting, queued);
}

double RunningBatch::compute_chunk(Sequence& sequence, std::optional<std::int64_t> queued) {
  const schedule::StepCost& own = cost(sequence);
  const std::int64_t from = sequence.computed_tokens;
  const std::int64_t to = chunk_end(sequence, queued);
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

// The most tokens, at least one, that keep the step within its limit.
std::int64_t RunningBatch::chunk_end(const Sequence& sequence,
                                     std::optional<std::int64_t> queued) const {
  const schedule::StepCost& own = cost(sequence);
  const std::int64_t from = sequence.computed_tokens;
  const std::int64_t longest = std::min(from + own.chunk_tokens, sequence.prompt_tokens);
  const double generating = generating_s();
  if (own.most_stall <= 0.0 || generating == 0.0) {
    return longest;
  }
  double stall = own.most_stall;
  if (queued.has_value()) {
    const auto readers = static_cast<double>(
        std::count_if(sequences_.begin(), sequences_.end(),
                      [](const Sequence& its) { return its.answered_tokens > 0; }));
    const double behind = static_cast<double>(std::ssize(sequences_) + *queued - 1) - readers;
    stall = std::clamp(1.0 + behind / readers, own.least_stall, own.most_stall);
  }
  const double limit = own.launch_s + (stall - 1.0) * generating;
  std::int64_t end = from + 1;
  for (std::int64_t beyond = longest + 1; beyond - end > 1;) {
    const std::int64_t middle = end + (beyond - end) / 2;
    (own.prompt_s(from, middle) <= limit ? end : beyond) = middle;
  }
  return end;
}

double RunningBatch::generating_s() const {
  double seconds = 0.0;
  for (std::size_t v = 0; v < profile_->variants.size(); ++v) {
    double rows = 0.0;
    double positions = 0.0;
    for (const Sequence& sequence : sequences_) {
      if (sequence.variant == static_cast<std::int32_t>(v) && sequence.answered_tokens > 0 &&
          !sequence.is_done()) {
        rows += 1.0;
        positions += static_cast<double>(sequence.prompt_tokens + sequence.answered_tokens);
      }
    }
    seconds += rows > 0.0 ? profile_->variants[v].step.decode_s(rows, positions) : 0.0;
  }
  return seconds;
}

double RunningBatch::generate_all() {
  const double seconds = generating_s();
  for (Sequence& sequence : sequences_) {
    sequence.answered_tokens += sequence.is_done() ? 0 : 1;
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
