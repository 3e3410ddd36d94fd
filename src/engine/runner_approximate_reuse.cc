// The part of Runner that takes over what other cached texts of the tenant have in common with a prompt behind a changed place,
// for requests that allow it (docs/decisions/013-approximate-reuse.md). All of it is copied when a sequence is let in, into
// blocks of its own; while what comes before is computed nobody looks at it, and then the sequence goes on behind it.
#include <algorithm>

#include "engine/runner.h"
#include "kernels/kernel_table.h"

namespace edgewise::engine {
namespace {

constexpr std::int64_t kBlock = kernels::kKeyBlock;
constexpr std::size_t kMostTexts = 8;            // that are searched for a prompt
constexpr std::int64_t kMostTextTokens = 32768;  // ... together

// The blocks of its text in which a run lies.
std::span<const cache::BlockId> blocks_of(const reuse::CommonRun& run,
                                          std::span<const reuse::PrefixCache::Text> texts) {
  const std::int64_t first = run.from / kBlock;
  const std::int64_t end = cache::blocks_for(run.from + run.length);
  return std::span(texts[run.source].blocks)
      .subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(end - first));
}

}  // namespace

std::vector<reuse::PrefixCache::Text> Runner::similar_texts(const Sequence& sequence) const {
  if (!sequence.request.approximate_reuse || !keeps_prefix(sequence)) {
    return {};
  }
  return prefixes_.similar(sequence.request.tenant, sequence.reusable(), kMostTexts,
                           kMostTextTokens);
}

std::vector<reuse::CommonRun> Runner::find_reusable(
    const Sequence& sequence,
    std::int64_t computed,
    std::span<const reuse::PrefixCache::Text> texts) const {
  const auto prompt = std::span<const TokenId>(sequence.tokens)
                          .first(static_cast<std::size_t>(sequence.prompt_tokens));
  std::vector<std::span<const TokenId>> sources;
  for (const reuse::PrefixCache::Text& text : texts) {
    sources.emplace_back(text.tokens);
  }
  return reuse::plan_reuse(prompt, computed, sources, options_.recomputation);
}

std::int64_t Runner::reusable_tokens(const Sequence& sequence, std::int64_t computed) const {
  std::int64_t tokens = 0;
  for (const reuse::CommonRun& run : find_reusable(sequence, computed, similar_texts(sequence))) {
    tokens += run.length;
  }
  return tokens;
}

void Runner::take_over(Sequence& sequence) {
  const std::vector<reuse::PrefixCache::Text> texts = similar_texts(sequence);
  const std::vector<reuse::CommonRun> runs = find_reusable(sequence, sequence.computed, texts);
  for (const reuse::CommonRun& run : runs) {
    std::ranges::for_each(blocks_of(run, texts), [&](auto block) { cache_->retain(block); });
  }
  std::int64_t tokens = 0;
  for (const reuse::CommonRun& run : runs) {
    prefixes_.use(blocks_of(run, texts));
    if (!take_over(sequence, run, texts[run.source].blocks)) {
      break;  // no memory: the rest is computed
    }
    tokens += run.length;
  }
  for (const reuse::CommonRun& run : runs) {
    std::ranges::for_each(blocks_of(run, texts), [&](auto block) { cache_->release(block); });
  }
  sequence.approximate_tokens = std::max(sequence.approximate_tokens, tokens);
  sequence.advance(0);
}

bool Runner::take_over(Sequence& sequence,
                       const reuse::CommonRun& run,
                       std::span<const cache::BlockId> source) {
  while (std::ssize(sequence.blocks) * kBlock < run.end()) {
    const auto block = prefixes_.allocate();
    if (!block.has_value()) {
      return false;
    }
    sequence.blocks.push_back(*block);
  }
  model_->copy_positions({.source = source,
                          .from = run.from,
                          .blocks = sequence.blocks,
                          .to = run.begin,
                          .count = run.length},
                         *cache_);
  sequence.copied.push_back({run.begin, run.end()});
  return true;
}

}  // namespace edgewise::engine
