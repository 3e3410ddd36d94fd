#include "step_timer.h"

#include <algorithm>
#include <chrono>

namespace edgewise::app {

std::vector<TokenId> TokenStream::take(std::int64_t count) {
  std::vector<TokenId> tokens(static_cast<std::size_t>(count));
  for (TokenId& token : tokens) {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    token = static_cast<TokenId>((state_ >> 33U) % vocab_);
  }
  return tokens;
}

void StepTimer::warm_up() {
  SequenceBlocks blocks(cache_);
  prefill(blocks, std::min<std::int64_t>(64, model_.spec().context), kChunk, true);
}

std::vector<double> StepTimer::prefill(SequenceBlocks& blocks,
                                       std::int64_t length,
                                       std::int64_t chunk,
                                       bool with_logits) {
  const std::vector<TokenId> prompt = tokens_.take(length);
  std::vector<double> seconds;
  for (std::int64_t at = 0; at < length; at += chunk) {
    const std::int64_t count = std::min(chunk, length - at);
    const bool is_last = at + count == length;
    model::StepPlan plan;
    plan.segments.push_back(
        {.tokens = std::span(prompt).subspan(static_cast<std::size_t>(at),
                                             static_cast<std::size_t>(count)),
         .first_position = at,
         .blocks = blocks.grow_to(at + count),
         .want = with_logits && is_last ? model::Want::kLastLogits : model::Want::kNothing});
    seconds.push_back(forward(plan));
  }
  return seconds;
}

void StepTimer::prefill_together(std::vector<SequenceBlocks>& sequences, std::int64_t length) {
  const auto per_step = static_cast<std::size_t>(std::max<std::int64_t>(1, kChunk / length));
  for (std::size_t first = 0; first < sequences.size(); first += per_step) {
    const std::size_t count = std::min(per_step, sequences.size() - first);
    const std::vector<TokenId> prompts = tokens_.take(static_cast<std::int64_t>(count) * length);
    model::StepPlan plan;
    for (std::size_t i = 0; i < count; ++i) {
      plan.segments.push_back(
          {.tokens = std::span(prompts).subspan(i * static_cast<std::size_t>(length),
                                                static_cast<std::size_t>(length)),
           .first_position = 0,
           .blocks = sequences[first + i].grow_to(length),
           .want = model::Want::kNothing});
    }
    forward(plan);
  }
}

std::vector<double> StepTimer::decode(std::vector<SequenceBlocks>& sequences,
                                      std::int64_t depth,
                                      std::int64_t steps) {
  const std::vector<TokenId> tokens = tokens_.take(std::ssize(sequences) * steps);
  std::vector<double> seconds;
  for (std::int64_t step = 0; step < steps; ++step) {
    model::StepPlan plan;
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      const std::size_t at = static_cast<std::size_t>(step) * sequences.size() + i;
      plan.segments.push_back({.tokens = std::span(tokens).subspan(at, 1),
                               .first_position = depth + step,
                               .blocks = sequences[i].grow_to(depth + step + 1),
                               .want = model::Want::kLastLogits});
    }
    seconds.push_back(forward(plan));
  }
  return seconds;
}

double StepTimer::forward(const model::StepPlan& plan) {
  const auto start = std::chrono::steady_clock::now();
  model_.forward(plan, cache_);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace edgewise::app
