// The part of Runner that keeps beginnings on disk beyond memory and restarts
// (docs/decisions/009-kv-pages-on-disk.md). What was found there becomes a cached prefix like any
// other; what was used twice is offered to be written.
#include <algorithm>

#include "engine/runner.h"
#include "kernels/kernel_table.h"
#include "reuse/page_key.h"

namespace edgewise::engine {
namespace {

constexpr std::int64_t kBlock = kernels::kKeyBlock;
constexpr std::chrono::seconds kPatience{2};  // with what is still unwritten at the end

// Of the whole blocks of `tokens`.
std::vector<cache::PageKey> keys_of(const cache::PageKey& model,
                                    std::string_view tenant,
                                    std::span<const TokenId> tokens) {
  std::vector<cache::PageKey> keys;
  cache::PageKey key = reuse::tenant_key(model, tenant);
  for (; std::ssize(tokens) >= kBlock; tokens = tokens.subspan(kBlock)) {
    key = reuse::next_key(key, tokens.first(kBlock));
    keys.push_back(key);
  }
  return keys;
}

}  // namespace

// False: there is nothing to look for.
bool Runner::look_on_disk(const Sequence& sequence) {
  if (pages_ == nullptr || !keeps_prefix(sequence)) {
    return false;
  }
  const std::span<const TokenId> tokens = sequence.reusable();
  const reuse::PrefixCache::Match match = prefixes_.peek(sequence.request.tenant, tokens);
  const auto known = std::ssize(match.full);
  release(match);
  if (std::ssize(tokens) / kBlock <= known) {
    return false;
  }
  std::vector<cache::PageKey> keys = keys_of(pages_->model(), sequence.request.tenant, tokens);
  keys.erase(keys.begin(), keys.begin() + known);
  steps::StepShape block;  // what reading a page saves
  block.add(kBlock, known * kBlock, false);
  pages_->want({.id = sequence.id,
                .keys = std::move(keys),
                .depth = known,
                .most_seconds = std::max(times_.cost().seconds(block), options_.page_patience)});
  return true;
}

void Runner::exchange_pages() {
  if (pages_ == nullptr) {
    return;
  }
  for (reuse::PageTraffic::Found& found : pages_->take_found()) {
    const auto it =
        std::find_if(looking_.begin(), looking_.end(),
                     [&](const SequencePtr& sequence) { return sequence->id == found.id; });
    if (it == looking_.end()) {
      continue;  // cancelled meanwhile
    }
    SequencePtr sequence = std::move(*it);
    looking_.erase(it);
    take_pages(*sequence, std::move(found));
    wait_in_line(std::move(sequence));
  }
  if (has_page_to_offer()) {
    offer_page();
  }
}

// Into the tree of prefixes, behind what it has by now.
void Runner::take_pages(const Sequence& sequence, reuse::PageTraffic::Found found) {
  const std::string& tenant = sequence.request.tenant;
  reuse::PrefixCache::Match match = prefixes_.peek(tenant, sequence.reusable());
  const std::int64_t known = std::ssize(match.full);
  const std::int64_t end = found.depth + std::ssize(found.pages);
  if (found.depth <= known) {  // else what was between is gone
    for (std::int64_t i = known; i < end; ++i) {
      const auto block = adopt(std::move(found.pages[static_cast<std::size_t>(i - found.depth)]));
      if (!block.has_value()) {
        break;
      }
      match.full.push_back(*block);
    }
    prefixes_.insert(
        tenant, sequence.reusable().first(match.full.size() * static_cast<std::size_t>(kBlock)),
        match.full, /*whole_blocks_only=*/true);
    for (std::size_t i = static_cast<std::size_t>(known); i < match.full.size(); ++i) {
      prefixes_.set_stored(match.full[i]);
    }
  }
  release(match);
}

bool Runner::has_page_to_offer() const {
  return pages_ != nullptr && prefixes_.has_hot() && pages_->has_room();
}

// A copy, 0.3 ms for a small model: the block itself stays free to be evicted.
void Runner::offer_page() {
  const reuse::PrefixCache::Hot hot = prefixes_.take_hot();
  const std::vector<cache::PageKey> keys = keys_of(pages_->model(), hot.scope, hot.tokens);
  reuse::PageTraffic::Offer offer{.key = keys.back(), .depth = std::ssize(keys) - 1, .bytes = {}};
  if (!hot.is_stored) {
    const std::span<const std::byte> bytes = cache_->bytes(hot.block);
    offer.bytes.assign(bytes.begin(), bytes.end());
  }
  pages_->offer(std::move(offer));
}

void Runner::offer_all_pages() {
  const Clock::time_point deadline = Clock::now() + kPatience;
  while (pages_ != nullptr && prefixes_.has_hot() && pages_->wait_for_room(deadline)) {
    offer_page();
  }
}

}  // namespace edgewise::engine
