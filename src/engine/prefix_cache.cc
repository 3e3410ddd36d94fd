#include "engine/prefix_cache.h"

#include <algorithm>
#include <limits>

#include "kernels/kernel_table.h"

namespace edgewise::engine {
namespace {

constexpr std::int64_t kBlock = kernels::kKeyBlock;

std::int64_t common_prefix(std::span<const TokenId> a, std::span<const TokenId> b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

}  // namespace

struct PrefixCache::Node {
  std::vector<TokenId> tokens;  // 1 to 64; fewer than 64 only without children
  cache::BlockId block = -1;
  std::uint64_t last_used = 0;
  std::vector<std::unique_ptr<Node>> children;

  bool is_full() const { return static_cast<std::int64_t>(tokens.size()) == kBlock; }
};

PrefixCache::PrefixCache(cache::KvCache& blocks) : blocks_(blocks) {}

PrefixCache::~PrefixCache() {
  clear();
}

std::int64_t PrefixCache::Match::tokens() const {
  return static_cast<std::int64_t>(full.size()) * kBlock + partial_tokens;
}

PrefixCache::Match PrefixCache::match(const std::string& scope, std::span<const TokenId> tokens) {
  Match found;
  const auto root = roots_.find(scope);
  Node* node = root == roots_.end() ? nullptr : root->second.get();
  ++clock_;
  while (node != nullptr && !tokens.empty()) {
    Node* best = nullptr;
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
    best->last_used = clock_;
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

void PrefixCache::insert(const std::string& scope,
                         std::span<const TokenId> tokens,
                         std::span<cache::BlockId> blocks,
                         bool whole_blocks_only) {
  const std::int64_t shortest = whole_blocks_only ? kBlock : 1;
  if (static_cast<std::int64_t>(tokens.size()) < shortest) {
    return;
  }
  auto& root = roots_[scope];
  if (root == nullptr) {
    root = std::make_unique<Node>();
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
        drop(*node, c--);  // a partial leaf that the new block continues
      }
    }
    if (same == nullptr) {
      auto added = std::make_unique<Node>();
      added->tokens.assign(content.begin(), content.end());
      added->block = blocks[i];
      blocks_.retain(blocks[i]);
      same = node->children.emplace_back(std::move(added)).get();
      ++size_;
    } else if (same->is_full() && content.size() == kBlock && same->block != blocks[i]) {
      blocks_.retain(same->block);
      blocks_.release(blocks[i]);
      blocks[i] = same->block;
    }
    same->last_used = clock_;
    node = same;
  }
}

// A child without children leaves the tree.
std::unique_ptr<PrefixCache::Node> PrefixCache::drop(Node& parent, std::size_t child) {
  auto node = std::move(parent.children[child]);
  parent.children.erase(parent.children.begin() + static_cast<std::ptrdiff_t>(child));
  blocks_.release(node->block);
  --size_;
  return node;
}

bool PrefixCache::evict_one() {
  Node* oldest_parent = nullptr;
  std::size_t oldest_child = 0;
  std::uint64_t oldest = std::numeric_limits<std::uint64_t>::max();
  std::vector<Node*> open;
  for (const auto& [scope, root] : roots_) {
    open.push_back(root.get());
  }
  while (!open.empty()) {
    Node* node = open.back();
    open.pop_back();
    for (std::size_t c = 0; c < node->children.size(); ++c) {
      Node& child = *node->children[c];
      if (!child.children.empty()) {
        open.push_back(&child);
      } else if (child.last_used < oldest && blocks_.references(child.block) == 1) {
        oldest = child.last_used;
        oldest_parent = node;
        oldest_child = c;
      }
    }
  }
  if (oldest_parent == nullptr) {
    return false;
  }
  drop(*oldest_parent, oldest_child);
  std::erase_if(roots_, [](const auto& entry) { return entry.second->children.empty(); });
  return true;
}

std::int64_t PrefixCache::evictable() const {
  // Who holds a block also holds the blocks before it, so a block that only the cache holds has
  // only such blocks below it: all of them can go, leaves first.
  std::int64_t count = 0;
  std::vector<const Node*> open;
  for (const auto& [scope, root] : roots_) {
    open.push_back(root.get());
  }
  while (!open.empty()) {
    const Node* node = open.back();
    open.pop_back();
    for (const auto& child : node->children) {
      count += blocks_.references(child->block) == 1 ? 1 : 0;
      open.push_back(child.get());
    }
  }
  return count;
}

void PrefixCache::clear() {
  std::vector<std::unique_ptr<Node>> open;
  for (auto& [scope, root] : roots_) {
    open.push_back(std::move(root));
  }
  roots_.clear();
  while (!open.empty()) {  // not by recursion: a long context is a deep tree
    auto node = std::move(open.back());
    open.pop_back();
    if (node->block >= 0) {
      blocks_.release(node->block);
    }
    for (auto& child : node->children) {
      open.push_back(std::move(child));
    }
  }
  size_ = 0;
}

}  // namespace edgewise::engine
