// The part of Runner that computes tokens before they are drawn (docs/speculation.md). A sequence
// brings guesses of its next tokens along in a step; the sampler then draws as if there were none,
// and goes on for as long as it draws what was guessed.
#include <algorithm>

#include "engine/runner.h"
#include "kernels/kernel_table.h"

namespace edgewise::engine {
namespace {

constexpr std::int64_t kBlock = kernels::kKeyBlock;
constexpr std::int64_t kMostDrafted = steps::FewRowsCost::kMostRows - 1;
constexpr double kMostSlowdown = 1.25;  // of anybody's tokens, by other texts' guesses

}  // namespace

// Guesses for those who generate. They take no memory that anybody else may need, and never a place
// in the step: the plan of what is computed in any case stands.
void Runner::add_drafts(std::vector<Share>& shares) {
  Drafting drafting;
  {
    const Stopwatch watch(*this);
    drafting = look_up_drafts(shares);
    if (draft_model_ != nullptr) {
      consider_draft_model(drafting);
    }
  }
  for (std::size_t i = 0; i < drafting.sharing.size(); ++i) {
    std::int64_t& count = drafting.plan.counts[i];
    Sequence& sequence = *drafting.sharing[i]->sequence;
    count = reserve_for_drafts(sequence, count);
    if (drafting.offers[i].is_computed) {
      drafting.sharing[i]->draft = sequence.drafter->draft(sequence.tokens, count);
    }
  }
  if (draft_model_ != nullptr) {
    ask_draft_model(drafting);
  }
}

Runner::Drafting Runner::look_up_drafts(std::vector<Share>& shares) {
  Drafting drafting;
  for (Share& share : shares) {
    Sequence& sequence = *share.sequence;
    const bool draws = sequence.computed + share.tokens == sequence.target();
    drafting.step.add(share.tokens, sequence.computed, draws);
    drafting.tokens += draws ? 1 : 0;
    const bool may_guess = sequence.request.speculate && !sequence.request.embedding;
    if (may_guess && share.tokens == 1 && draws) {
      drafting.sharing.push_back(&share);
      drafting.offers.push_back(
          {sequence.target(), look_up_chances(sequence, most_drafted(sequence))});
    }
  }
  if (running_.size() > 1) {
    drafting.limits = {longest_timely_step(), kMostSlowdown};
  }
  drafting.plan = speculation::plan_drafts(drafting.offers, drafting.step, drafting.tokens,
                                           drafting.limits, times_);
  return drafting;
}

// That may still be wanted.
std::int64_t Runner::most_drafted(const Sequence& sequence) const {
  const std::int64_t left = most_tokens(sequence) - sequence.generated();  // this step draws one
  return std::clamp<std::int64_t>(left - 1, 0, kMostDrafted);
}

std::vector<double> Runner::look_up_chances(Sequence& sequence, std::int64_t most) const {
  const auto tokens = std::span<const TokenId>(sequence.tokens);
  if (!sequence.drafter.has_value()) {
    sequence.drafter.emplace(tokens.first(static_cast<std::size_t>(sequence.prompt_tokens)));
  }
  sequence.drafter->follow(tokens);
  return sequence.drafter->chances(most);
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
void Runner::draw_along(const Share& share, std::span<const std::span<float>> rows) {
  Sequence& sequence = *share.sequence;
  const std::size_t position = sequence.tokens.size();
  const std::int64_t accepted_before = sequence.accepted;
  sequence.drafted += std::ssize(share.draft);
  stats_.drafted_tokens_total += std::ssize(share.draft);
  if (share.draft_is_models) {
    sequence.model_drafted += std::ssize(share.draft);
    stats_.model_drafted_tokens_total += std::ssize(share.draft);
  }
  draw_token(sequence, rows.front());
  for (std::size_t i = 0; i < share.draft.size() && !sequence.finished; ++i) {
    if (sequence.tokens.back() != share.draft[i]) {
      break;
    }
    ++sequence.accepted;
    sequence.model_accepted += share.draft_is_models ? 1 : 0;
    account(sequence, 1);
    draw_token(sequence, rows[i + 1]);
  }
  const std::int64_t accepted = sequence.accepted - accepted_before;
  stats_.accepted_tokens_total += accepted;
  stats_.model_accepted_tokens_total += share.draft_is_models ? accepted : 0;
  learn_from_guesses(sequence, position);
  while (!sequence.finished && std::ssize(sequence.blocks) * kBlock >= sequence.target() + kBlock) {
    cache_->release(sequence.blocks.back());
    sequence.blocks.pop_back();
  }
}

}  // namespace edgewise::engine
