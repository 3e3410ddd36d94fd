#include "reuse/prefix_cache.h"

#include <algorithm>
#include <bit>
#include <tuple>

#include "kernels/kernel_table.h"

namespace edgewise::reuse {
namespace {

constexpr std::int64_t kBlock = kernels::kKeyBlock;
constexpr double kPositionsPerRow = 2000;  // attention to so many costs as much as a row of weights

}  // namespace

std::int64_t common_prefix(std::span<const TokenId> a, std::span<const TokenId> b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

struct PrefixCache::Node {
  std::vector<TokenId> tokens;  // 1 to 64; fewer than 64 only without children
  cache::BlockId block = -1;    // of the root
  Node* parent = nullptr;
  std::int64_t position = 0;  // of its first token
  std::int64_t uses = 0;
  double value = 0.0;
  std::uint64_t last_used = 0;
  std::uint64_t hot_since = 0;  // 0: not among the hot ones
  bool is_stored = false;
  const std::string* scope = nullptr;  // of the root
  std::vector<std::unique_ptr<Node>> children;

  bool is_full() const { return static_cast<std::int64_t>(tokens.size()) == kBlock; }

  bool is_root() const { return parent == nullptr; }

  // Of computing it again, in rows.
  double cost() const {
    return static_cast<double>(tokens.size()) *
           (1.0 + static_cast<double>(position) / kPositionsPerRow);
  }
};

PrefixCache::PrefixCache(cache::KvCache& blocks)
    : blocks_(blocks), nodes_(static_cast<std::size_t>(blocks.capacity()), nullptr) {}

PrefixCache::~PrefixCache() {
  clear();
}

std::int64_t PrefixCache::Match::tokens() const {
  return static_cast<std::int64_t>(full.size()) * kBlock + partial_tokens;
}

PrefixCache::Match PrefixCache::peek(const std::string& scope,
                                     std::span<const TokenId> tokens) const {
  Match found;
  const auto root = roots_.find(scope);
  const Node* node = root == roots_.end() ? nullptr : root->second.get();
  while (node != nullptr && !tokens.empty()) {
    const Node* best = nullptr;
    std::int64_t best_length = 0;
    for (const auto& child : node->children) {
      const std::int64_t length = common_prefix(tokens, child->tokens);
      if (length > best_length) {
        best = child.get();
        best_length = length;
      }
    }
    if (best == nullptr) {
      break;
    }
    blocks_.retain(best->block);
    if (best_length < kBlock) {
      found.partial = best->block;
      found.partial_tokens = best_length;
      break;
    }
    found.full.push_back(best->block);
    tokens = tokens.subspan(kBlock);
    node = best;
  }
  return found;
}

struct PrefixCache::Gathering {
  std::size_t most_texts = 0;
  std::int64_t tokens_left = 0;
  Text path;  // from the root to where the search is
  std::vector<Text> found;

  bool is_full() const { return found.size() >= most_texts || tokens_left <= 0; }
};

std::vector<PrefixCache::Text> PrefixCache::similar(const std::string& scope,
                                                    std::span<const TokenId> tokens,
                                                    std::size_t most_texts,
                                                    std::int64_t most_tokens) const {
  Gathering gathering{most_texts, most_tokens, {}, {}};
  if (const auto root = roots_.find(scope); root != roots_.end()) {
    gather(*root->second, tokens, gathering);
  }
  return std::move(gathering.found);
}

// Depth first, so that all that goes on like `wanted` for longest comes before anything else. `wanted`: what would come
// after `node`; empty once the texts differ.
void PrefixCache::gather(const Node& node, std::span<const TokenId> wanted, Gathering& into) const {
  if (node.children.empty() && !node.is_root()) {
    Text text = into.path;
    const auto room = static_cast<std::size_t>(into.tokens_left);
    if (text.tokens.size() > room) {
      text.tokens.resize(room);
      text.blocks.resize(static_cast<std::size_t>(cache::blocks_for(into.tokens_left)));
    }
    into.tokens_left -= std::ssize(text.tokens);
    into.found.push_back(std::move(text));
    return;
  }

  struct Way {
    std::int64_t common = 0;
    const Node* child = nullptr;
  };

  std::vector<Way> ways;
  for (const auto& child : node.children) {
    ways.push_back({common_prefix(wanted, child->tokens), child.get()});
  }
  std::ranges::sort(ways, [](const Way& a, const Way& b) {
    return std::tuple(-a.common, ~a.child->last_used, a.child->block) <
           std::tuple(-b.common, ~b.child->last_used, b.child->block);
  });
  for (const Way& way : ways) {
    if (into.is_full()) {
      return;
    }
    const Node& child = *way.child;
    into.path.tokens.insert(into.path.tokens.end(), child.tokens.begin(), child.tokens.end());
    into.path.blocks.push_back(child.block);
    gather(child, way.common == kBlock ? wanted.subspan(kBlock) : std::span<const TokenId>(), into);
    into.path.tokens.resize(into.path.tokens.size() - child.tokens.size());
    into.path.blocks.pop_back();
  }
}

void PrefixCache::use(std::span<const cache::BlockId> blocks) {
  ++clock_;
  for (const cache::BlockId block : blocks) {
    if (Node* node = nodes_[static_cast<std::size_t>(block)]) {
      use(*node);
    }
  }
}

PrefixCache::Match PrefixCache::match(const std::string& scope, std::span<const TokenId> tokens) {
  const Match found = peek(scope, tokens);
  use(found);
  return found;
}

void PrefixCache::use(const Match& match) {
  ++clock_;
  for (const cache::BlockId block : match.full) {
    if (Node* node = nodes_[static_cast<std::size_t>(block)]) {
      use(*node);
      note_hot(*node);
    }
  }
  if (match.partial.has_value()) {
    if (Node* node = nodes_[static_cast<std::size_t>(*match.partial)]) {
      use(*node);
    }
  }
}

PrefixCache::Beginning PrefixCache::take(Match match) {
  Beginning beginning;
  beginning.tokens = std::ssize(match.full) * kBlock;
  beginning.blocks = std::move(match.full);
  if (!match.partial.has_value()) {
    return beginning;
  }
  // Only the first positions of the copy are valid; the rest is overwritten before it is read.
  if (const auto copy = allocate()) {
    blocks_.copy(*match.partial, *copy);
    beginning.blocks.push_back(*copy);
    beginning.tokens += match.partial_tokens;
  }
  blocks_.release(*match.partial);
  return beginning;
}

PrefixCache::Rank PrefixCache::rank(const Node& node) {
  return {node.value, node.last_used, node.block};
}

void PrefixCache::use(Node& node) {
  leaves_.erase(rank(node));
  ++node.uses;
  node.value = evicted_value_ + static_cast<double>(node.uses) * node.cost();
  node.last_used = clock_;
  if (node.children.empty()) {
    leaves_.insert(rank(node));
  }
}

void PrefixCache::note_hot(Node& node) {
  const auto uses = static_cast<std::uint64_t>(node.uses);
  if (watches_hot_ && uses > 1 && std::has_single_bit(uses) && node.hot_since == 0) {
    node.hot_since = clock_;
    hot_.insert({node.hot_since, node.position, node.block});
  }
}

PrefixCache::Hot PrefixCache::take_hot() {
  const auto block = std::get<cache::BlockId>(*hot_.begin());
  hot_.erase(hot_.begin());
  Node& node = *nodes_[static_cast<std::size_t>(block)];
  Hot hot{.block = block, .scope = {}, .tokens = {}, .is_stored = node.is_stored};
  node.hot_since = 0;
  node.is_stored = true;
  const Node* at = &node;
  hot.tokens.resize(static_cast<std::size_t>(node.position + kBlock));
  for (; !at->is_root(); at = at->parent) {
    std::copy(at->tokens.begin(), at->tokens.end(), hot.tokens.begin() + at->position);
  }
  hot.scope = *at->scope;
  return hot;
}

void PrefixCache::set_stored(cache::BlockId block) {
  if (Node* node = nodes_[static_cast<std::size_t>(block)]) {
    node->is_stored = true;
  }
}

void PrefixCache::insert(const std::string& scope,
                         std::span<const TokenId> tokens,
                         std::span<cache::BlockId> blocks,
                         bool whole_blocks_only) {
  const std::int64_t shortest = whole_blocks_only ? kBlock : 1;
  if (static_cast<std::int64_t>(tokens.size()) < shortest) {
    return;
  }
  const auto at = roots_.try_emplace(scope).first;
  auto& root = at->second;
  if (root == nullptr) {
    root = std::make_unique<Node>();
    root->scope = &at->first;
  }
  Node* node = root.get();
  ++clock_;
  for (std::size_t i = 0; static_cast<std::int64_t>(tokens.size()) >= shortest; ++i) {
    const auto content = tokens.first(std::min<std::size_t>(tokens.size(), kBlock));
    tokens = tokens.subspan(content.size());
    Node* same = nullptr;
    for (std::size_t c = 0; c < node->children.size(); ++c) {
      Node& child = *node->children[c];
      const auto length = static_cast<std::size_t>(common_prefix(content, child.tokens));
      if (length == content.size()) {
        same = &child;  // the child says as much, or more
        break;
      }
      if (length == child.tokens.size()) {
        drop(child);  // a partial leaf that the new block continues
        --c;
      }
    }
    if (same == nullptr) {
      same = &add(*node, content, blocks[i]);
    } else if (same->is_full() && content.size() == kBlock && same->block != blocks[i]) {
      blocks_.retain(same->block);
      blocks_.release(blocks[i]);
      blocks[i] = same->block;
    }
    node = same;
  }
}

PrefixCache::Node& PrefixCache::add(Node& parent,
                                    std::span<const TokenId> tokens,
                                    cache::BlockId block) {
  leaves_.erase(rank(parent));
  Node& node = *parent.children.emplace_back(std::make_unique<Node>());
  node.tokens.assign(tokens.begin(), tokens.end());
  node.block = block;
  node.parent = &parent;
  node.position = parent.is_root() ? 0 : parent.position + kBlock;
  blocks_.retain(block);
  blocks_.set_cached(block, true);
  nodes_[static_cast<std::size_t>(block)] = &node;
  ++size_;
  use(node);
  return node;
}

// A node without children leaves the tree.
void PrefixCache::drop(Node& node) {
  leaves_.erase(rank(node));
  hot_.erase({node.hot_since, node.position, node.block});
  nodes_[static_cast<std::size_t>(node.block)] = nullptr;
  blocks_.set_cached(node.block, false);
  blocks_.release(node.block);
  --size_;
  Node& parent = *node.parent;
  std::erase_if(parent.children, [&](const auto& child) { return child.get() == &node; });
  if (parent.children.empty() && !parent.is_root()) {
    leaves_.insert(rank(parent));
  }
}

bool PrefixCache::evict_one() {
  for (const Rank& rank : leaves_) {  // few are in use
    const cache::BlockId block = std::get<cache::BlockId>(rank);
    if (blocks_.references(block) == 1) {
      evicted_value_ = std::get<double>(rank);
      drop(*nodes_[static_cast<std::size_t>(block)]);
      drop_roots();
      return true;
    }
  }
  return false;
}

bool PrefixCache::make_room() {
  while (blocks_.free_blocks() == 0) {
    if (!evict_one()) {
      return false;
    }
  }
  return true;
}

std::optional<cache::BlockId> PrefixCache::allocate() {
  return make_room() ? blocks_.allocate() : std::nullopt;
}

void PrefixCache::drop_roots() {
  std::erase_if(roots_, [](const auto& entry) { return entry.second->children.empty(); });
}

// Who holds a block also holds the blocks before it, so a block that only the cache holds has only
// such blocks below it: all of them can go, leaves first.
std::int64_t PrefixCache::evictable() const {
  return blocks_.only_cached();
}

void PrefixCache::clear() {
  while (!leaves_.empty()) {
    drop(*nodes_[static_cast<std::size_t>(std::get<cache::BlockId>(*leaves_.begin()))]);
  }
  drop_roots();
}

}  // namespace edgewise::reuse
