#include "speculation/draft_model.h"

#include <algorithm>

#include "base/check.h"
#include "base/seconds.h"
#include "kernels/kernel_table.h"
#include "steps/expected_cost.h"

namespace edgewise::speculation {
namespace {

constexpr std::int64_t kBlock = kernels::kKeyBlock;

}  // namespace

DraftModel::DraftModel(std::unique_ptr<model::Model> model,
                       std::unique_ptr<cache::KvCache> cache,
                       std::function<Clock::time_point()> now)
    : model_(std::move(model)),
      cache_(std::move(cache)),
      now_(std::move(now)),
      prefixes_(*cache_),
      times_(steps::expected_cost(*model_)) {
  measure_first();
}

DraftModel::~DraftModel() {
  for (const auto& [id, progress] : texts_) {
    for (const cache::BlockId block : progress.blocks) {
      cache_->release(block);
    }
  }
}

// Single tokens, then several.
void DraftModel::measure_first() {
  const std::optional<cache::BlockId> block = cache_->allocate();
  CHECK(block.has_value(), "a draft model without memory");
  const std::vector<TokenId> tokens(32, 0);
  std::int64_t position = 0;
  for (const std::size_t count : {1U, 1U, 1U, 1U, 32U}) {
    model::StepPlan plan;
    plan.segments.push_back({.tokens = std::span(tokens).first(count),
                             .first_position = position,
                             .blocks = {&*block, 1},
                             .want = model::Want::kLastLogits});
    position += static_cast<std::int64_t>(count);
    if (position <= model_->spec().context) {
      forward(plan);
    }
  }
  cache_->release(*block);
}

std::int64_t DraftModel::most_guesses(const Text& text) {
  const Progress& progress = follow(text);
  if (progress.is_foreign) {
    return 0;
  }
  std::int64_t blocks = std::ssize(progress.blocks) + cache_->free_blocks();
  if (blocks * kBlock < std::ssize(text.tokens) + kBlock) {
    blocks += prefixes_.evictable();
  }
  const std::int64_t positions = std::min(model_->spec().context, blocks * kBlock);
  return std::max<std::int64_t>(0, positions - std::ssize(text.tokens) + 1);
}

std::int64_t DraftModel::missing(const Text& text) {
  return std::ssize(text.tokens) - std::ssize(follow(text).computed);
}

// What it has of the text: without guesses that were wrong, and without the last token, whose logits
// are wanted.
DraftModel::Progress& DraftModel::follow(const Text& text) {
  const auto [entry, is_new] = texts_.try_emplace(text.id);
  Progress& progress = entry->second;
  while (progress.checked < text.tokens.size() && !progress.is_foreign) {
    progress.is_foreign = text.tokens[progress.checked] >= model_->spec().vocab;
    ++progress.checked;
  }
  if (is_new && !progress.is_foreign) {
    begin(progress, text);
  }
  const std::size_t most = std::min(progress.computed.size(), text.tokens.size() - 1);
  while (progress.agreed < most &&
         progress.computed[progress.agreed] == text.tokens[progress.agreed]) {
    ++progress.agreed;
  }
  progress.computed.resize(progress.agreed);
  return progress;
}

// With what is known of such a beginning.
void DraftModel::begin(Progress& progress, const Text& text) {
  reuse::PrefixCache::Match match =
      prefixes_.match(*text.tenant, text.tokens.first(text.tokens.size() - 1));
  reuse::PrefixCache::Beginning known = prefixes_.take(std::move(match));
  progress.blocks = std::move(known.blocks);
  const auto tokens = text.tokens.first(static_cast<std::size_t>(known.tokens));
  progress.computed.assign(tokens.begin(), tokens.end());
  progress.agreed = tokens.size();
}

bool DraftModel::reserve(Progress& progress, std::int64_t positions) {
  while (std::ssize(progress.blocks) < cache::blocks_for(positions)) {
    const auto block = prefixes_.allocate();
    if (!block.has_value()) {
      return false;
    }
    progress.blocks.push_back(*block);
  }
  return true;
}

bool DraftModel::read(const Text& text, std::int64_t most) {
  Progress& progress = follow(text);
  const auto begin = std::ssize(progress.computed);
  const std::int64_t count = std::min(most, std::ssize(text.tokens) - 1 - begin);
  if (count < 1) {
    return true;
  }
  if (!reserve(progress, begin + count)) {
    return false;
  }
  const auto tokens =
      text.tokens.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
  model::StepPlan plan;
  plan.segments.push_back({.tokens = tokens,
                           .first_position = begin,
                           .blocks = progress.blocks,
                           .want = model::Want::kNothing});
  forward(plan);
  progress.computed.insert(progress.computed.end(), tokens.begin(), tokens.end());
  progress.agreed = progress.computed.size();
  return true;
}

std::vector<std::vector<TokenId>> DraftModel::guess(std::span<const Wish> wishes) {
  struct Asked {
    Progress* progress = nullptr;  // null: no further guesses
    std::vector<TokenId> next;     // to be computed
  };

  std::vector<Asked> all;
  for (const Wish& wish : wishes) {
    Progress& progress = follow(wish.text);
    const auto missing = wish.text.tokens.subspan(progress.computed.size());
    const bool fits = reserve(progress, std::ssize(wish.text.tokens) + wish.count - 1);
    all.push_back({fits ? &progress : nullptr, {missing.begin(), missing.end()}});
  }
  std::vector<std::vector<TokenId>> drafts(wishes.size());
  for (std::int64_t place = 0;; ++place) {
    model::StepPlan plan;
    std::vector<std::size_t> who;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const Asked& asked = all[i];
      if (asked.progress != nullptr && place < wishes[i].count) {
        plan.segments.push_back({.tokens = asked.next,
                                 .first_position = std::ssize(asked.progress->computed),
                                 .blocks = asked.progress->blocks,
                                 .want = model::Want::kLastLogits,
                                 .largest = wishes[i].largest});
        who.push_back(i);
      }
    }
    if (who.empty()) {
      return drafts;
    }
    const model::StepResult result = forward(plan);
    for (std::size_t k = 0; k < who.size(); ++k) {
      Asked& asked = all[who[k]];
      std::vector<TokenId>& computed = asked.progress->computed;
      computed.insert(computed.end(), asked.next.begin(), asked.next.end());
      const auto token = wishes[who[k]].choose(place, result.rows[k]);
      if (!token.has_value() || *token < 0 || *token >= model_->spec().vocab) {
        asked.progress = nullptr;
        continue;
      }
      drafts[who[k]].push_back(*token);
      asked.next.assign(1, *token);
    }
  }
}

model::StepResult DraftModel::forward(const model::StepPlan& plan) {
  const Clock::time_point begin = now_();
  steps::StepShape shape;
  for (const model::Segment& segment : plan.segments) {
    shape.add(std::ssize(segment.tokens), segment.first_position,
              segment.want != model::Want::kNothing);
  }
  model::StepResult result = model_->forward(plan, *cache_);
  const double seconds = seconds_between(begin, now_());
  times_.observe(shape, seconds);
  busy_seconds_ += seconds;
  return result;
}

void DraftModel::forget(const Text& text) {
  const auto found = texts_.find(text.id);
  if (found == texts_.end()) {
    return;
  }
  Progress& progress = follow(text);
  prefixes_.insert(*text.tenant, progress.computed, progress.blocks, /*whole_blocks_only=*/false);
  for (const cache::BlockId block : progress.blocks) {
    cache_->release(block);
  }
  texts_.erase(found);
}

}  // namespace edgewise::speculation
