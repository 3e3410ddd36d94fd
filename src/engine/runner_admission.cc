// The part of Runner that lets waiting sequences in: finds what is already computed of them and
// makes sure that there is memory for the rest.
#include <algorithm>

#include "base/check.h"
#include "engine/runner.h"
#include "kernels/kernel_table.h"

namespace edgewise::engine {
namespace {

constexpr std::int64_t kBlock = kernels::kKeyBlock;

}  // namespace

void Runner::admit() {
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    Sequence& sequence = **it;
    if (static_cast<std::int64_t>(running_.size()) >= options_.max_sequences) {
      return;
    }
    switch (try_admit(sequence)) {
      case Admission::kNoMemory:
        return;  // nobody overtakes: a long prompt must not starve behind short ones
      case Admission::kSiblingFirst:
        ++it;
        break;
      case Admission::kAdmitted:
        let_in(std::move(*it));
        it = waiting_.erase(it);
        break;
    }
  }
}

void Runner::let_in(SequencePtr sequence) {
  const auto place =
      std::upper_bound(running_.begin(), running_.end(), sequence->id,
                       [](RequestId id, const SequencePtr& other) { return id < other->id; });
  running_.insert(place, std::move(sequence));
}

Runner::Admission Runner::try_admit(Sequence& sequence) {
  reuse::PrefixCache::Match match = find_prefix(sequence);
  if (keeps_prefix(sequence) && sibling_computes_more(sequence, match.tokens())) {
    release(match);
    return Admission::kSiblingFirst;
  }
  const auto fits = [&] {
    const std::int64_t whole =
        cache::blocks_for(sequence.target()) - static_cast<std::int64_t>(match.full.size());
    return whole <= unclaimed_blocks();
  };
  if (!fits() && match.partial.has_value()) {
    cache_->release(*match.partial);  // its block may be just the one that is missing
    match.partial.reset();
    match.partial_tokens = 0;
  }
  if (!fits()) {
    CHECK(!running_.empty(), "an idle engine has no memory for {} tokens", sequence.target());
    release(match);
    return Admission::kNoMemory;
  }
  take_prefix(sequence, std::move(match));
  begin(sequence);
  return Admission::kAdmitted;
}

// With its prefix in its blocks.
void Runner::begin(Sequence& sequence) {
  const bool first_time = !sequence.admitted.has_value();
  const std::int64_t cached = sequence.computed;
  take_over(sequence);
  sequence.tokens.reserve(static_cast<std::size_t>(sequence.prompt_tokens + most_tokens(sequence)));
  if (first_time) {
    sequence.admitted = options_.now();
    sequence.cached_tokens = cached;
    charge(sequence, remaining_tokens(sequence));
    stats_.prompt_tokens_total += sequence.prompt_tokens;
    stats_.cached_tokens_total += sequence.cached_tokens;
    stats_.approximate_tokens_total += sequence.approximate_tokens;
  }
}

// What the prefix cache knows, or a running sequence has in the block that it is still writing to.
reuse::PrefixCache::Match Runner::find_prefix(const Sequence& sequence) {
  if (!keeps_prefix(sequence)) {
    return {};
  }
  reuse::PrefixCache::Match match = prefixes_.peek(sequence.request.tenant, sequence.reusable());
  const auto whole = static_cast<std::int64_t>(match.full.size());
  for (const SequencePtr& other : running_) {
    if (!keeps_prefix(*other) || other->request.tenant != sequence.request.tenant) {
      continue;
    }
    const auto computed =
        std::span<const TokenId>(other->tokens).first(static_cast<std::size_t>(other->exact()));
    const std::int64_t common =
        std::min(reuse::common_prefix(sequence.reusable(), computed), (whole + 1) * kBlock);
    if (common > match.tokens()) {
      const cache::BlockId block = other->blocks[static_cast<std::size_t>(whole)];
      cache_->retain(block);
      if (match.partial.has_value()) {
        cache_->release(*match.partial);
      }
      match.partial = block;
      match.partial_tokens = common - whole * kBlock;
    }
  }
  return match;
}

// A running sequence that is about to compute more of this one's tokens than are known now. Waiting
// for it is cheaper than computing them twice (n answers to one prompt, many requests with one long
// instruction).
bool Runner::sibling_computes_more(const Sequence& sequence, std::int64_t matched) const {
  return std::any_of(running_.begin(), running_.end(), [&](const SequencePtr& other) {
    if (!keeps_prefix(*other) || other->request.tenant != sequence.request.tenant) {
      return false;
    }
    const std::int64_t common =
        std::min(reuse::common_prefix(sequence.reusable(), other->tokens), other->exact_end());
    return common > other->computed && common > matched;
  });
}

void Runner::take_prefix(Sequence& sequence, reuse::PrefixCache::Match match) {
  prefixes_.use(match);
  reuse::PrefixCache::Beginning beginning = prefixes_.take(std::move(match));
  sequence.blocks = std::move(beginning.blocks);
  sequence.computed = beginning.tokens;
}

void Runner::release(const reuse::PrefixCache::Match& match) {
  for (const cache::BlockId block : match.full) {
    cache_->release(block);
  }
  if (match.partial.has_value()) {
    cache_->release(*match.partial);
  }
}

// Blocks that are free or could be, and that no running sequence needs for tokens it already has.
std::int64_t Runner::unclaimed_blocks() const {
  std::int64_t unclaimed = cache_->free_blocks() + prefixes_.evictable();
  for (const SequencePtr& sequence : running_) {
    unclaimed -=
        cache::blocks_for(sequence->target()) - static_cast<std::int64_t>(sequence->blocks.size());
  }
  return unclaimed;
}

}  // namespace edgewise::engine
