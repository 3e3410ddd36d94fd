// The part of Runner that computes tokens before they are drawn (docs/speculation.md). A sequence
// brings guesses of its next tokens along in a step; the sampler then draws as if there were none,
// and goes on for as long as it draws what was guessed.
#include <algorithm>
#include <limits>

#include "engine/runner.h"
#include "kernels/kernel_table.h"

namespace edgewise::engine {
namespace {

constexpr std::int64_t kBlock = kernels::kKeyBlock;
constexpr std::int64_t kMostDrafted = FewRowsCost::kMostRows - 1;
constexpr double kMostDelay = 1.25;  // of a step, by drafts, while others wait for its end

}  // namespace

// Guesses for those who generate. They take no memory that anybody else may need, and never a place
// in the step: the plan of what is computed in any case stands.
void Runner::add_drafts(std::vector<Share>& shares) {
  const Stopwatch watch(*this);
  StepShape step;
  std::int64_t tokens = 0;
  std::vector<Share*> drafting;
  std::vector<DraftOffer> offers;
  for (Share& share : shares) {
    Sequence& sequence = *share.sequence;
    const bool draws = sequence.computed + share.tokens == sequence.target();
    step.add(share.tokens, sequence.computed, draws);
    tokens += draws ? 1 : 0;
    if (!sequence.request.embedding && share.tokens == 1 && draws) {
      drafting.push_back(&share);
      offers.push_back({sequence.target(), guess(sequence)});
    }
  }
  const double limit = running_.size() == 1 ? std::numeric_limits<double>::infinity()
                                            : std::min(kMostDelay * few_rows_.seconds(step, cost_),
                                                       longest_timely_step());
  const std::vector<std::int64_t> counts =
      plan_drafts(offers, step, tokens, limit, cost_, few_rows_);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    Sequence& sequence = *drafting[i]->sequence;
    drafting[i]->draft =
        sequence.drafter->draft(sequence.tokens, reserve_for_drafts(sequence, counts[i]));
  }
}

// The chances of guesses that may still be wanted.
std::vector<double> Runner::guess(Sequence& sequence) const {
  const auto tokens = std::span<const TokenId>(sequence.tokens);
  if (!sequence.drafter.has_value()) {
    sequence.drafter.emplace(tokens.first(static_cast<std::size_t>(sequence.prompt_tokens)));
  }
  sequence.drafter->follow(tokens);
  const std::int64_t left = most_tokens(sequence) - sequence.generated();  // this step draws one
  return sequence.drafter->chances(std::clamp<std::int64_t>(left - 1, 0, kMostDrafted));
}

// How many of `drafted` tokens have a place in the sequence's blocks and blocks that are free.
std::int64_t Runner::reserve_for_drafts(Sequence& sequence, std::int64_t drafted) {
  const auto room = [&] { return std::ssize(sequence.blocks) * kBlock - sequence.target(); };
  while (room() < drafted) {
    const auto block = cache_->allocate();
    if (!block.has_value()) {
      return room();
    }
    sequence.blocks.push_back(*block);
  }
  return drafted;
}

// Draws from rows that were computed one after another: the first of them follows what was known,
// each other one follows a guess and counts as long as that is what was drawn.
void Runner::draw_along(Sequence& sequence,
                        std::span<const TokenId> draft,
                        std::span<const std::span<float>> rows) {
  sequence.drafted += std::ssize(draft);
  stats_.drafted_tokens_total += std::ssize(draft);
  draw_token(sequence, rows.front());
  for (std::size_t i = 0; i < draft.size() && !sequence.finished; ++i) {
    if (sequence.tokens.back() != draft[i]) {
      break;
    }
    ++sequence.accepted;
    ++stats_.accepted_tokens_total;
    account(sequence, 1);
    draw_token(sequence, rows[i + 1]);
  }
  while (!sequence.finished && std::ssize(sequence.blocks) * kBlock >= sequence.target() + kBlock) {
    cache_->release(sequence.blocks.back());
    sequence.blocks.pop_back();
  }
}

}  // namespace edgewise::engine
